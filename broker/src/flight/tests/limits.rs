//! What becomes of answers that nobody reads, of callers that speak no gRPC, and of values in the place of parameters.

use arrow::array::{BooleanArray, NullArray, UInt64Array};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

#[tokio::test]
async fn an_answer_that_is_cut_off_says_so() {
    let server = Server::start_with(OpenAccess, Duration::from_millis(200)).await;
    let (_, many) = ticket(&server, MANY).await;
    let mut response = server.raw().do_get(many).await.unwrap().into_inner();
    response.next().await.unwrap().unwrap();
    server.wait_running(0).await;
    let rest: Result<Vec<FlightData>, Status> = response.try_collect().await;
    let status = rest.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    assert!(status.message().contains("cut off"), "{status}");
}

#[tokio::test]
async fn only_http_2_is_spoken() {
    let server = Server::start(OpenAccess).await;
    let request = "POST /arrow.flight.protocol.FlightService/ListActions HTTP/1.1\r\nHost: evil.example\r\n\
                   Content-Type: application/grpc\r\nConnection: close\r\nContent-Length: 5\r\n\r\n\0\0\0\0\0";
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer).to_lowercase();
    assert!(answer.contains(&format!("grpc-status: {}\r\n", Code::Unimplemented as i32)), "{answer}");
    assert!(!answer.contains("preparedstatement"), "{answer}");
    // What it would have answered.
    let actions = server.raw().list_actions(arrow_flight::Empty {}).await.unwrap().into_inner();
    assert!(actions.try_collect::<Vec<_>>().await.unwrap().len() > 1);
}

#[tokio::test]
async fn values_have_the_announced_types() {
    let server = Server::start(OpenAccess).await;
    let values: Vec<(ArrayRef, DataType)> = vec![
        (Arc::new(Int64Array::from(vec![-2])), DataType::Int64),
        (Arc::new(UInt64Array::from(vec![u64::MAX])), DataType::UInt64),
        (Arc::new(Float64Array::from(vec![2.0])), DataType::Float64),
        (Arc::new(BooleanArray::from(vec![true])), DataType::Boolean),
        (Arc::new(StringArray::from(vec!["x"])), DataType::Utf8),
        (Arc::new(NullArray::new(1)), DataType::Null),
    ];
    for (value, expected) in values {
        let mut prepared = server.client().prepare("SELECT ? AS a".into(), None).await.unwrap();
        prepared.set_parameters(RecordBatch::try_from_iter([("1", value)]).unwrap()).unwrap();
        let info = prepared.execute().await.unwrap();
        // That it is the announced one is looked at with the rows.
        let answer = rows(&mut server.client(), info).await;
        assert_eq!(answer.column(0).data_type(), &expected);
    }
}
