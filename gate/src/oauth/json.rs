//! JSON in which every name occurs at most once.
//!
//! serde_json keeps the last of two equal names, others keep the first: whoever can put a second `sub` into a token or
//! a second `kid` into a key set must not be able to choose what is seen. RFC 7519, 4: "reject JWTs with duplicate
//! Claim Names".

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Integer(i64),
    /// Beyond `i64`, or with a fraction.
    Number(f64),
    Text(String),
    List(Vec<Json>),
    Object(Object),
}

/// Names and values.
pub(super) type Object = BTreeMap<String, Json>;

/// One object and nothing behind it. Nesting is bounded by serde_json (128 levels).
pub(super) fn object(bytes: &[u8]) -> Result<Object, &'static str> {
    match serde_json::from_slice(bytes) {
        Ok(Json::Object(object)) => Ok(object),
        Ok(_) => Err("not a JSON object"),
        // What serde_json says may quote the input.
        Err(why) if why.classify() == serde_json::error::Category::Data => Err("a name occurs twice"),
        Err(_) => Err("not JSON"),
    }
}

impl Json {
    pub(super) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Integer(value))
    }

    #[expect(clippy::cast_precision_loss, reason = "nothing here may be as large")]
    fn visit_u64<E: Error>(self, value: u64) -> Result<Json, E> {
        Ok(i64::try_from(value).map_or(Json::Number(value as f64), Json::Integer))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Number(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Json, E> {
        Ok(Json::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let mut object = Object::new();
        while let Some((name, value)) = entries.next_entry::<String, Json>()? {
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a name occurs twice"));
            }
        }
        Ok(Json::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_occurs_twice_is_refused_at_every_depth() {
        for text in [r#"{"a":1,"a":1}"#, r#"{"a":[{"b":{"c":1,"c":2}}]}"#, r#"{"a":1,"\u0061":2}"#] {
            assert_eq!(object(text.as_bytes()), Err("a name occurs twice"), "{text}");
        }
        assert!(object(br#"{"a":{"a":1},"b":[{"a":1},{"a":1}]}"#).is_ok());
    }

    #[test]
    fn only_one_whole_object_is_read() {
        for text in ["", "{", "{}x", "{} {}", "[1", "nul", r#"{"a":01}"#, r#"{"a":NaN}"#, "{'a':1}", "\u{feff}{}"] {
            assert_eq!(object(text.as_bytes()), Err("not JSON"), "{text}");
        }
        for text in ["[]", "1", "null", r#""{}""#] {
            assert_eq!(object(text.as_bytes()), Err("not a JSON object"), "{text}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(object(deep.as_bytes()), Err("not JSON"));
    }

    #[test]
    fn numbers_keep_their_value_or_say_that_they_cannot() {
        let number = |text: &str| object(format!("{{\"n\":{text}}}").as_bytes()).map(|mut all| all.remove("n"));
        assert_eq!(number("-7"), Ok(Some(Json::Integer(-7))));
        assert_eq!(number("9223372036854775807"), Ok(Some(Json::Integer(i64::MAX))));
        assert_eq!(number("18446744073709551615"), Ok(Some(Json::Number(18_446_744_073_709_551_615.0))));
        assert_eq!(number("1e3"), Ok(Some(Json::Number(1000.0))));
        assert!(number("1e999").is_err());
    }
}
