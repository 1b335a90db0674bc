//! `GET /upcheck`: the process answers.

use axum::response::IntoResponse;
use http::HeaderValue;
use http::header::CONTENT_TYPE;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

pub(crate) async fn get() -> impl IntoResponse {
    ([(CONTENT_TYPE, TEXT)], "OK")
}
