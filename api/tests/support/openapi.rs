//! Compares answers with the published OpenAPI of the key manager API, as far as its schemas go: `type`, `required`,
//! `properties`, `items`, `enum`, and the one `pattern`.

use serde_json::Value;
use std::path::{Path, PathBuf};

/// One document of the specification and what it refers to.
pub struct Document {
    path: PathBuf,
    root: Value,
}

impl Document {
    /// `None` when there are no vectors, which is said.
    pub fn of_vectors(relative: &str) -> Option<Self> {
        Some(Self::read(&super::vectors()?.join(relative)))
    }

    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        Self { path: path.to_owned(), root: serde_saphyr::from_str(&text).unwrap() }
    }

    /// Checks an answer of an operation: the status must be documented, and the body fit.
    pub fn check(&self, method: &str, answer: &super::Answer) {
        let responses = &self.root[method]["responses"];
        let response = &responses[answer.status.to_string()];
        assert!(!response.is_null(), "{method}: status {} is not documented: {}", answer.status, answer.body);
        let (document, response) = self.resolve(response);
        let schema = &response["content"]["application/json"]["schema"];
        assert!(!schema.is_null(), "{method} {} has no schema", answer.status);
        document.fits(schema, &answer.json(), "body");
    }

    /// Follows `$ref`, which may lead into another document.
    fn resolve(&self, node: &Value) -> (Self, Value) {
        let Some(reference) = node["$ref"].as_str() else {
            return (Self { path: self.path.clone(), root: self.root.clone() }, node.clone());
        };
        let (file, pointer) = reference.split_once('#').unwrap_or((reference, ""));
        let document = if file.is_empty() {
            Self { path: self.path.clone(), root: self.root.clone() }
        } else {
            Self::read(&self.path.parent().unwrap().join(file))
        };
        let found = document.root.pointer(pointer).unwrap_or_else(|| panic!("{reference} leads nowhere")).clone();
        document.resolve(&found)
    }

    fn fits(&self, schema: &Value, value: &Value, at: &str) {
        let (document, schema) = self.resolve(schema);
        let is = match schema["type"].as_str().unwrap_or_else(|| panic!("{at}: a schema without a type: {schema}")) {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            other => panic!("{at}: type {other} is not known here"),
        };
        assert!(is, "{at}: {value} is no {}", schema["type"]);
        for required in schema["required"].as_array().into_iter().flatten() {
            assert!(!value[required.as_str().unwrap()].is_null(), "{at}: {required} is missing in {value}");
        }
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            if let Some(inner) = value.get(name) {
                document.fits(property, inner, &format!("{at}.{name}"));
            }
        }
        for (index, item) in value.as_array().into_iter().flatten().enumerate() {
            document.fits(&schema["items"], item, &format!("{at}[{index}]"));
        }
        if let Some(allowed) = schema["enum"].as_array() {
            assert!(allowed.contains(value), "{at}: {value} is none of {allowed:?}");
        }
        if schema["pattern"] == "^0x[a-fA-F0-9]{96}$" {
            let digits = value.as_str().unwrap().strip_prefix("0x").unwrap_or_default();
            assert!(digits.len() == 96 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()), "{at}: {value}");
        } else {
            assert!(schema["pattern"].is_null(), "{at}: pattern {} is not known here", schema["pattern"]);
        }
    }
}
