//! What the files of a configuration show: permissions and owners.

use crate::doctor::checks::files::{self, Need};
use crate::doctor::finding::{Finding, Status, Verdict};
use crate::doctor::host::{self, entry};
use crate::doctor::plan::Plan;
use crate::doctor::{points, secrets};
use std::path::Path;

pub(super) fn examine(plan: &Plan) -> Vec<Finding> {
    let data_dir = plan.path("node.data-dir");
    let node = host::node_user(data_dir.as_deref());
    let named = secrets::named(plan);
    let sources = secrets::sources(plan);
    let look = |what: &str, path: &Path, need| match entry(path) {
        Ok(entry) => files::permissions(what, &entry, need, &node),
        Err(error) => files::missing(what, path, &error),
    };
    let data = match &data_dir {
        None => Verdict::skip("node.data-dir is not set"),
        Some(dir) if !dir.exists() => Verdict::skip(format!("{} is not there yet", dir.display())),
        Some(dir) => look("node.data-dir", dir, Need::OwnDirectory),
    };
    let source_looks = sources.files.iter().map(|path| look("key source", path, Need::Secret));
    let unread = sources.unread.iter().map(|problem| Verdict::skip(problem.clone()));
    let count = sources.files.len();
    let good =
        if count == 0 { "no key source in files".into() } else { format!("{count} file(s), their owner's alone") };
    let all = || named.iter().map(|(_, path)| path).chain(&sources.files).chain(data_dir.iter()).chain([&plan.file]);
    let owners = all().filter_map(|path| entry(path).ok()).map(|entry| files::owner(&entry, node.uid));
    let secret_count = named.len();
    vec![
        match look("configuration", &plan.file, Need::Unchanged) {
            Verdict { status: Status::Pass, .. } => Verdict::pass("others cannot change it"),
            bad => bad,
        }
        .on(&points::CONFIG_FILE, &plan.name),
        Verdict::worst(
            named.iter().map(|(key, path)| look(key, path, Need::Secret)),
            format!("{secret_count} file(s), their owner's alone"),
        )
        .on(&points::SECRET_FILES, &plan.name),
        Verdict::worst(source_looks.chain(unread), good).on(&points::KEY_SOURCES, &plan.name),
        data.on(&points::DATA_DIR, &plan.name),
        Verdict::worst(owners, format!("all belong to root or to user {}", node.uid)).on(&points::OWNERS, &plan.name),
    ]
}
