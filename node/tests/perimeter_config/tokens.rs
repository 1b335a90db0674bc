//! Listeners for clients with tokens and for administrators, and the key manager's token while it changes.

use crate::site::{CALL, Site, apply, post, ran, tool, until};
use bytes::Bytes;
use consigner_gate::ClientTls;
use consigner_node::client::ClusterClient;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Method, StatusCode};
use serde_json::json;

const POLICY: &str = "\
version: 1
roles:
  validator: {keys: all, operations: [duties]}
  operator: {keys: all, operations: [\"admin.*\", \"keymanager.*\", list-keys]}
clients:
  - {name: admin, certificate: {common-name: dev-admin}, roles: [operator]}
";

async fn get(client: &ClusterClient, path: &str, token: Option<&str>) -> Option<StatusCode> {
    let bearer = |token| (AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}")).unwrap());
    let headers: Vec<_> = token.map(bearer).into_iter().collect();
    client.call(Method::GET, path, &headers, Bytes::new(), CALL).await.ok().map(|answer| answer.response.status)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_the_url_signs_through_its_own_listener_and_nowhere_else() {
    let mut site = Site::new();
    let (admin_port, token_port) = (site.port(2), site.port(3));
    site.start("{}\n");
    site.stop();
    site.start(&format!(
        "admin: {{listen: \"127.0.0.1:{admin_port}\"}}\ntoken-door: {{listen: \"127.0.0.1:{token_port}\"}}\n"
    ));
    let admin = site.client(&site.identity("admin"), admin_port);
    let status = "/admin/v1/cluster/status";
    assert_eq!(get(&admin, status, None).await, Some(StatusCode::OK));
    assert_eq!(
        get(&site.client(&site.identity("client"), admin_port), status, None).await,
        Some(StatusCode::FORBIDDEN)
    );
    let on_api = get(&site.api_client(&site.identity("admin")), status, None).await;
    assert_eq!(on_api, Some(StatusCode::NOT_FOUND), "administrators have a listener of their own");

    let (applied, said) = apply(&admin, POLICY).await;
    assert_eq!(applied, StatusCode::OK, "{said}");
    let wish = json!({"name": "vc-behind-a-url", "roles": ["validator"]});
    let (made, answer) = post(&admin, "/admin/v1/policy/tokens", &wish).await;
    assert_eq!(made, StatusCode::OK, "{answer}");
    let token = answer["token"].as_str().unwrap();

    let Some(curl) = tool("curl", "a token in a URL") else { return };
    let ca = site.identity("client").ca;
    let keys = |credentials: &str, port: u16| {
        let url = format!("https://{credentials}127.0.0.1:{port}/api/v1/eth2/publicKeys");
        let arguments = ["--silent", "--noproxy", "*", "--max-time", "60", "--cacert", ca.to_str().unwrap()];
        ran(&curl, &[&arguments[..], &["--write-out", " %{http_code}", &url]].concat())
    };
    let (_, answer, said) = keys(&format!("any:{token}@"), token_port);
    assert!(answer.ends_with(" 200") && answer.contains("0x"), "{answer} {said}");
    assert!(keys("", token_port).1.ends_with(" 401"), "somebody must be asked");
    assert!(keys(&format!("any:{}@", token.replace(['a', '1'], "2")), token_port).1.ends_with(" 401"));
    assert!(!keys(&format!("any:{token}@"), site.port(0) - 2).0, "the API port asks for a certificate");
    assert!(!site.log().contains(token), "no token in the log");
}

/// The listener of the key manager with its token alone.
async fn keystores(site: &Site, token: &str) -> Option<StatusCode> {
    let identity: ClientTls = site.identity("client");
    get(&site.client(&identity, site.port(1)), "/eth/v1/keystores", Some(token)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_file_is_read_again_when_told_to_and_a_bad_one_changes_nothing() {
    let mut site = Site::new();
    let (old, new) = ("0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210");
    site.write("token", old);
    site.start(&format!(
        "keymanager: {{listen: \"127.0.0.1:{}\", token-file: ../token, tls: {{client-certificate: optional}}}}\n",
        site.port(1)
    ));
    assert_eq!(keystores(&site, old).await, Some(StatusCode::OK));
    assert_eq!(keystores(&site, new).await, Some(StatusCode::UNAUTHORIZED));

    site.write("token", "short");
    site.hang_up();
    let refused = ["config_reload", "failed", "keymanager.token-file"];
    until("the bad token is told", async || !site.lines_with(&refused).is_empty()).await;
    assert_eq!(keystores(&site, old).await, Some(StatusCode::OK), "the old one stays in use");

    site.write("token", new);
    let admin = site.api_client(&site.identity("admin"));
    let (accepted, said) = post(&admin, "/reload", &json!({})).await;
    assert_eq!(accepted, StatusCode::ACCEPTED, "{said}");
    until("the new token counts", async || keystores(&site, new).await == Some(StatusCode::OK)).await;
    assert_eq!(keystores(&site, old).await, Some(StatusCode::UNAUTHORIZED));
    let reloaded = ["audit", "tls_reload", "done", "keymanager"];
    assert!(!site.lines_with(&reloaded).is_empty(), "TLS files are read again as well");
}
