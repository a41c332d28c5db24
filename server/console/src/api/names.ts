// Names and texts as SQL writes them.

/** Words that mean something else where a name is expected. A name that is quoted in vain does no harm. */
const RESERVED = new Set(
  (
    "all and any array as asc between both by case cast collate column constraint create cross current current_date current_time current_timestamp current_user default delete desc distinct " +
    "else end escape except exists extract false fetch filter first following for foreign from full group grouping having in inner insert intersect interval into is join lateral leading left like limit " +
    "localtime localtimestamp natural not null nulls offset on or order outer over overlay partition position preceding primary qualify range references right row rows select similar some substring " +
    "table then to trailing trim true unbounded union unique update user using values when where window with within"
  ).split(" "),
);

/** A name as SQL writes it, quoted only where it must be. */
export const quoted = (name: string) => (/^[a-z_][a-z0-9_]*$/.test(name) && !RESERVED.has(name) ? name : `"${name.replaceAll('"', '""')}"`);
export const literal = (text: string) => `'${text.replaceAll("'", "''")}'`;
