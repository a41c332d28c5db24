// Of Parquet and of Arrow as much as it takes to count the rows of a file.

/** Thrift's compact protocol, read as far as numbers: everything else is passed over. */
class Thrift {
  private at = 0;
  constructor(private readonly bytes: Uint8Array) {}

  private byte = () => this.bytes[this.at++] ?? 0;

  private varint(): bigint {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = this.byte();
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  }

  private zigzag(): bigint {
    const value = this.varint();
    return (value >> 1n) ^ -(value & 1n);
  }

  private value(type: number): bigint | null {
    if (type === 1 || type === 2) return null; // A boolean is its type.
    if (type === 3) return BigInt(this.byte());
    if (type >= 4 && type <= 6) return this.zigzag();
    if (type === 7) this.at += 8;
    else if (type === 8) {
      const length = Number(this.varint());
      this.at += length;
    } else if (type === 9 || type === 10) {
      const head = this.byte();
      const many = head >> 4 === 15 ? Number(this.varint()) : head >> 4;
      for (let i = 0; i < many; i++) this.value((head & 15) <= 2 ? 3 : head & 15);
    } else if (type === 12) this.struct();
    else throw new Error(`there is no type ${type} in a footer`);
    return null;
  }

  /** The numbers of a struct by the ids of their fields. */
  struct(): Map<number, bigint> {
    const fields = new Map<number, bigint>();
    for (let id = 0; ; ) {
      const head = this.byte();
      if (head === 0) return fields;
      id = head >> 4 === 0 ? Number(this.zigzag()) : id + (head >> 4);
      const value = this.value(head & 15);
      if (value !== null) fields.set(id, value);
    }
  }
}

const MAGIC = "PAR1";
const NUM_ROWS = 3;

/** What the footer of a Parquet file says: https://parquet.apache.org/docs/file-format/ */
export function parquetRows(file: Buffer): number {
  for (const magic of [file.subarray(0, 4), file.subarray(-4)]) if (magic.toString("latin1") !== MAGIC) throw new Error(`no Parquet: ${magic.toString("hex")}`);
  const footer = file.readUInt32LE(file.length - 8);
  return Number(new Thrift(file.subarray(file.length - 8 - footer, file.length - 8)).struct().get(NUM_ROWS));
}

/** Where the field with this number of a flatbuffer's table stands; 0: it is not there. */
function fieldOf(bytes: Buffer, table: number, field: number): number {
  const vtable = table - bytes.readInt32LE(table);
  const slot = 4 + 2 * field;
  const offset = slot < bytes.readUInt16LE(vtable) ? bytes.readUInt16LE(vtable + slot) : 0;
  return offset === 0 ? 0 : table + offset;
}

const CONTINUATION = 0xffff_ffff;
const RECORD_BATCH = 3;

/** The rows of all record batches of a stream: https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format */
export function arrowRows(stream: Buffer): number {
  let rows = 0;
  for (let at = 0; at < stream.length; ) {
    if (stream.readUInt32LE(at) !== CONTINUATION) throw new Error(`no message of Arrow at byte ${at}`);
    const length = stream.readUInt32LE(at + 4);
    if (length === 0) return rows;
    const message = stream.subarray(at + 8, at + 8 + length);
    const root = message.readUInt32LE(0);
    const [kind, header, body] = [1, 2, 3].map((field) => fieldOf(message, root, field)) as [number, number, number];
    if (message.readUInt8(kind) === RECORD_BATCH) {
      const batch = header + message.readUInt32LE(header);
      rows += Number(message.readBigInt64LE(fieldOf(message, batch, 0)));
    }
    at += 8 + length + (body === 0 ? 0 : Number(message.readBigInt64LE(body)));
  }
  throw new Error("the stream has no end");
}
