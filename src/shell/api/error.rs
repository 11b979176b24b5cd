//! Errors of the API: a status, a code that stays, a sentence, and what to do.

use hyper::StatusCode;
use serde_json::json;

use crate::rules::refusal::Refusal;

/// Why a request is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    pub status: StatusCode,
    pub code: &'static str,
    pub message: String,
    pub action: String,
    /// The method that the path is for, when the request has another.
    pub allowed: Option<&'static str>,
}

impl ApiError {
    pub(super) fn new(
        status: StatusCode,
        code: &'static str,
        message: impl Into<String>,
        action: impl Into<String>,
    ) -> ApiError {
        let (message, action) = (message.into(), action.into());
        ApiError { status, code, message, action, allowed: None }
    }

    /// The request is wrong.
    pub(super) fn bad(code: &'static str, message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, code, message, "correct the request")
    }

    pub(super) fn not_found(message: impl Into<String>) -> ApiError {
        ApiError::new(
            StatusCode::NOT_FOUND,
            "not_found",
            message,
            "ask for something that is there",
        )
    }

    pub(super) fn method(allowed: &'static str) -> ApiError {
        let message = format!("this is for {allowed} only");
        let action = format!("use {allowed}");
        let status = StatusCode::METHOD_NOT_ALLOWED;
        let error = ApiError::new(status, "method_not_allowed", message, action);
        ApiError { allowed: Some(allowed), ..error }
    }

    /// The core is not there to ask.
    pub(super) fn storage(cause: impl Into<String>, action: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "storage_failed", cause, action)
    }

    /// The rules refuse a message.
    pub(super) fn refused(why: Refusal) -> ApiError {
        let action = match why {
            Refusal::PoolFull | Refusal::TooEarly => "try again later",
            Refusal::InChain => "nothing: it has done its work",
            _ => "correct the message and sign it again",
        };
        ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, why.code(), why.to_string(), action)
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        let error =
            json!({"error": {"code": self.code, "message": self.message, "action": self.action}});
        format!("{error}\n").into_bytes()
    }
}
