//! The API of every member of a cluster: what it advertises, or the endpoint that answers with its id.

use super::{CallError, ClusterClient, admin};
use std::collections::BTreeMap;

/// URL per member, or why there is none.
pub type Members = BTreeMap<u64, Result<String, String>>;

/// Asks the cluster who its members are and finds the way to each.
///
/// # Errors
/// No endpoint tells the members.
pub async fn find(client: &ClusterClient) -> Result<Members, CallError> {
    let asked = client.endpoints().iter().map(|url| async move { (url, admin::status(&client.only(url)).await) });
    let mut endpoints = BTreeMap::new();
    let mut answered = None;
    let mut failure = CallError::NoEndpoint;
    for (url, status) in futures::future::join_all(asked).await {
        match status {
            Ok(status) => {
                endpoints.insert(status.node, url.clone());
                answered.get_or_insert(status);
            }
            Err(error) => failure = error,
        }
    }
    let status = answered.ok_or(failure)?;
    let url_of = |node: &admin::MemberStatus| {
        if let Some(url) = endpoints.get(&node.id) {
            return Ok(url.clone());
        }
        let Some(status) = &node.status else { return Err(node.error.clone().unwrap_or_else(|| "no answer".into())) };
        match status.member.api_url.as_str() {
            "" => Err("it advertises no API; name it with --endpoint or set api.advertise-url".to_owned()),
            url => Ok(url.to_owned()),
        }
    };
    Ok(status.nodes.iter().map(|node| (node.id, url_of(node))).collect())
}
