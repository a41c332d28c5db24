//! Reads what a server has sent over HTTP/1.1, as strictly as a client should.

/// An answer, of either protocol.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// In lower case; of HTTP/2 none.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// Whether its end was there.
    pub(super) is_whole: bool,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether the body is what it is said to be, and the server itself in order.
    pub(super) fn checked(self) -> Result<Self, String> {
        let is_plain = self.header("content-encoding").is_none();
        if self.status == 500 {
            return Err(format!("a bug: {}", String::from_utf8_lossy(&self.body)));
        }
        let is_json = is_plain && self.header("content-type") == Some("application/json");
        match is_json.then(|| serde_json::from_slice::<serde_json::Value>(&self.body)) {
            Some(Err(error)) => Err(format!("{error}: {}", String::from_utf8_lossy(&self.body))),
            _ => Ok(self),
        }
    }
}

/// All answers in what has come. The last may have broken off, since the client may have hung up; one that is wrong may not.
pub(super) fn read(mut rest: &[u8]) -> Result<Vec<Answer>, String> {
    let mut answers = Vec::new();
    while !rest.is_empty() {
        let Some(end) = find(rest, b"\r\n\r\n") else {
            let is_begun = b"HTTP/1.".starts_with(&rest[..rest.len().min(7)]);
            return if is_begun { Ok(answers) } else { Err(format!("no head: {}", shown(rest))) };
        };
        let (mut answer, after) = (head(&rest[..end])?, &rest[end + 4..]);
        if (100..200).contains(&answer.status) {
            rest = after;
            continue;
        }
        rest = body(&mut answer, after)?;
        answers.push(answer);
    }
    Ok(answers)
}

fn head(bytes: &[u8]) -> Result<Answer, String> {
    let wrong = || format!("a wrong head: {}", shown(bytes));
    let text = std::str::from_utf8(bytes).map_err(|_| wrong())?;
    let mut lines = text.split("\r\n");
    let (version, status) = lines.next().and_then(|line| line.split_once(' ')).ok_or_else(wrong)?;
    let (digits, _reason) = status.split_once(' ').ok_or_else(wrong)?;
    let status: u16 = digits.parse().map_err(|_| wrong())?;
    let is_status = digits.len() == 3 && (100..600).contains(&status);
    if !matches!(version, "HTTP/1.1" | "HTTP/1.0") || !is_status {
        return Err(wrong());
    }
    let mut headers = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(": ").ok_or_else(wrong)?;
        let is_name =
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if !is_name || value.contains(|c: char| c.is_control() && c != '\t') {
            return Err(wrong());
        }
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    Ok(Answer { status, headers, body: Vec::new(), is_whole: false })
}

/// Takes the body of an answer; what stands behind it comes back.
fn body<'a>(answer: &mut Answer, rest: &'a [u8]) -> Result<&'a [u8], String> {
    if matches!(answer.status, 204 | 304) {
        answer.is_whole = true;
        return Ok(rest);
    }
    if answer.header("transfer-encoding") == Some("chunked") {
        return chunks(answer, rest);
    }
    let Some(length) = answer.header("content-length") else {
        // It ends with the connection.
        (answer.body, answer.is_whole) = (rest.to_vec(), true);
        return Ok(&[]);
    };
    let length: usize = length.parse().map_err(|_| format!("content-length: {length}"))?;
    let (body, rest) = rest.split_at(length.min(rest.len()));
    (answer.body, answer.is_whole) = (body.to_vec(), body.len() == length);
    Ok(rest)
}

fn chunks<'a>(answer: &mut Answer, mut rest: &'a [u8]) -> Result<&'a [u8], String> {
    loop {
        let Some(end) = find(rest, b"\r\n") else { return Ok(&[]) };
        let digits = std::str::from_utf8(&rest[..end]).unwrap_or("?");
        let size = usize::from_str_radix(digits, 16).map_err(|_| format!("a chunk of {digits} bytes"))?;
        rest = &rest[end + 2..];
        if rest.len() < size + 2 {
            return Ok(&[]);
        }
        if &rest[size..size + 2] != b"\r\n" {
            return Err(format!("a chunk does not end: {}", shown(&rest[size..])));
        }
        answer.body.extend_from_slice(&rest[..size]);
        rest = &rest[size + 2..];
        if size == 0 {
            answer.is_whole = true;
            return Ok(rest);
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

pub(super) fn shown(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(200)].escape_ascii().to_string()
}

#[test]
fn what_is_no_answer_is_seen() {
    let good = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\na: b\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n";
    let answers = read(good).unwrap();
    assert_eq!((answers.len(), answers[0].status, answers[0].body.as_slice()), (1, 200, &b"ab"[..]));
    assert!(answers[0].is_whole && !read(&good[..good.len() - 4]).unwrap()[0].is_whole);
    let twice = b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}";
    assert_eq!(read(twice).unwrap().iter().map(|answer| answer.status).collect::<Vec<_>>(), [204, 400]);
    for wrong in [
        "nonsense",
        "HTTP/1.1 99 x\r\n\r\n",
        "HTTP/1.1 600 x\r\n\r\n",
        "HTTP/1.1 200\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno header\r\n\r\n",
        "HTTP/1.1 200 OK\r\na: b\u{1}\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabc\r\n",
    ] {
        assert!(read(wrong.as_bytes()).is_err(), "{wrong:?}");
    }
    let of = |status, body: &[u8]| Answer {
        status,
        headers: vec![("content-type".into(), "application/json".into())],
        body: body.to_vec(),
        is_whole: true,
    };
    assert!(
        of(200, b"{}").checked().is_ok()
            && of(200, b"{").checked().is_err()
            && of(500, b"{}").checked().is_err()
    );
}
