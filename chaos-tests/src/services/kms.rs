//! AWS KMS, played by moto.

use super::{Service, ServiceError};
use rustix::process::Signal;
use serde_json::json;

/// Names the program.
const VARIABLE: &str = "CONSIGNER_MOTO";

/// Where keys are; moto asks for no particular one.
pub const REGION: &str = "us-east-1";

/// moto takes the service from the scope of the credential, and any signature.
const SCOPE: &str = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/kms/aws4_request, SignedHeaders=host, \
                     Signature=00";

/// A KMS with one symmetric key.
#[derive(Debug)]
pub struct Kms {
    service: Service,
    key_id: String,
}

impl Kms {
    /// Starts it and makes the key.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn start() -> Result<Self, ServiceError> {
        let arguments = |port: u16| vec!["-H".to_owned(), "127.0.0.1".to_owned(), "-p".to_owned(), port.to_string()];
        let service = Service::start("moto_server", VARIABLE, arguments, "/moto-api/data.json").await?;
        let headers = [
            ("Authorization", SCOPE),
            ("X-Amz-Target", "TrentService.CreateKey"),
            ("Content-Type", "application/x-amz-json-1.1"),
        ];
        let made = service.call("POST", "/", &headers, &json!({})).await?;
        let key_id = made["KeyMetadata"]["KeyId"].as_str().unwrap_or_default().to_owned();
        Ok(Self { service, key_id })
    }

    /// The section `aws-kms` of a node's configuration, in one line.
    #[must_use]
    pub fn section(&self) -> String {
        format!("{{key-id: {}, region: {REGION}, endpoint: \"{}\"}}", self.key_id, self.service.url())
    }

    /// Credentials as the standard chain finds them, and nothing that makes it wait for an instance's role.
    #[must_use]
    pub fn environment() -> Vec<(String, String)> {
        let variables =
            [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test"), ("AWS_EC2_METADATA_DISABLED", "true")];
        variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    /// From now on it accepts connections and answers nothing.
    pub fn hang(&self) {
        self.service.signal(Signal::STOP);
    }

    /// It answers again.
    pub fn go_on(&self) {
        self.service.signal(Signal::CONT);
    }
}
