//! One unary call on one connection: the frame, the deadline, the answer, and what is known when it fails.

use std::time::{Duration, Instant};

use bytes::{BufMut as _, Bytes, BytesMut};
use domain::api::Deadline;
use domain::{Error, Reason, Result};
use http::{HeaderMap, HeaderValue, Method as HttpMethod, Request, Response, Uri, Version, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use prost::Message;
use tonic::{Code, Status};

use crate::answer::too_late;
use crate::method::MessageLimits;
use crate::{status, timeout, traced};

/// Compression flag and length before each message.
const FRAME_HEAD_LEN: usize = 5;

pub(crate) type Body = Full<Bytes>;

/// A message as it travels. Cheap to send twice.
#[derive(Clone)]
pub(crate) struct Frame(Bytes);

impl Frame {
    /// # Errors
    /// `BodyTooLarge` when no server would read it.
    pub(crate) fn encode(message: &impl Message, limits: MessageLimits) -> Result<Self> {
        let len = message.encoded_len();
        if len > limits.request_len_max {
            let detail = format!("the request has {len} bytes; {} are read at most", limits.request_len_max);
            return Err(Error::new(Reason::BodyTooLarge, detail));
        }
        let mut frame = BytesMut::with_capacity(FRAME_HEAD_LEN + len);
        frame.put_u8(0);
        frame.put_u32(u32::try_from(len).map_err(|_| broken("a length"))?);
        message.encode(&mut frame).map_err(|error| broken("a message").with_source(error))?;
        Ok(Self(frame.freeze()))
    }

    /// The request, with what is left until `deadline`, and what it is part of.
    ///
    /// # Errors
    /// `DeadlineExceeded`, never sent, when nothing is left.
    pub(crate) fn request(&self, uri: Uri, deadline: Deadline) -> Result<Request<Body>> {
        let left = deadline.remaining(Instant::now());
        if left < Duration::from_micros(1) {
            return Err(too_late().with_never_sent());
        }
        let mut request = Request::new(Full::new(self.0.clone()));
        *request.method_mut() = HttpMethod::POST;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.reserve(3 + traced::HEADERS);
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(timeout::HEADER, timeout::format(left));
        traced::write(headers);
        Ok(request)
    }
}

/// Reads the answer whole.
pub(crate) async fn read<T: Message + Default>(response: Response<Incoming>, limits: MessageLimits) -> Result<T> {
    if response.status() != http::StatusCode::OK {
        let answered = response.status();
        // A proxy between us, or something that is no gRPC server.
        return Err(Error::new(Reason::Unavailable, format!("the service answered with HTTP status {answered}")));
    }
    refused(response.headers())?;
    let body = Limited::new(response.into_body(), FRAME_HEAD_LEN + limits.response_len_max);
    let collected = body.collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            return broken("a message that is longer than any of this method");
        }
        Error::new(Reason::Unavailable, "the connection to the service broke while it answered").with_source(error)
    })?;
    match collected.trailers() {
        Some(trailers) => refused(trailers)?,
        None => return Err(broken("no status")),
    }
    decode(collected.to_bytes())
}

/// A status in headers or trailers that is not OK.
fn refused(headers: &HeaderMap) -> Result<()> {
    match Status::from_header_map(headers) {
        Some(status) if status.code() != Code::Ok => Err(status::from_status(&status)),
        Some(_) | None => Ok(()),
    }
}

fn decode<T: Message + Default>(mut body: Bytes) -> Result<T> {
    let head = body.get(..FRAME_HEAD_LEN).and_then(|head| <[u8; FRAME_HEAD_LEN]>::try_from(head).ok());
    let Some([compressed, length @ ..]) = head else { return Err(broken("no message")) };
    let message = body.split_off(FRAME_HEAD_LEN);
    if compressed != 0 || usize::try_from(u32::from_be_bytes(length)) != Ok(message.len()) {
        return Err(broken("a frame that is not one plain message"));
    }
    T::decode(message).map_err(|error| broken("a message that does not decode").with_source(error))
}

/// The other side does not keep the contract: a fault of ours, on one side or the other.
pub(crate) fn broken(what: &str) -> Error {
    Error::new(Reason::Internal, "an internal error; the log has the cause under the request id")
        .with_source(format!("the service answered {what}"))
}
