//! The OpenAPI 3.1 document of a server.

use lustre_api::{Endpoint, Nothing, Problem};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};
use std::any::TypeId;

/// An OpenAPI document in the making. The order of endpoints is that of the calls.
pub struct Document {
    title: String,
    version: String,
    paths: Map<String, Value>,
    schemas: SchemaGenerator,
}

impl Document {
    /// A document without endpoints.
    pub fn new(title: impl Into<String>, version: impl Into<String>) -> Self {
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        });
        Self { title: title.into(), version: version.into(), paths: Map::new(), schemas: settings.into_generator() }
    }

    /// Adds an endpoint.
    #[must_use]
    pub fn endpoint<E: Endpoint>(mut self) -> Self {
        self.add::<E>();
        self
    }

    pub(crate) fn add<E: Endpoint>(&mut self) {
        let mut parameters = self.parameters::<E::Path>("path");
        parameters.extend(self.parameters::<E::Query>("query"));
        if E::STREAM && parameters.iter().any(|parameter| parameter["name"] == "after") {
            parameters.push(json!({
                "name": "Last-Event-ID", "in": "header", "required": false, "schema": { "type": "string" },
                "description": "The id of the last event that was received. Goes before `after`: who connects again by itself \
                    repeats its first address.",
            }));
        }
        let reply = self.schemas.subschema_for::<E::Reply>();
        let content: Map<String, Value> = if E::STREAM {
            Map::from_iter([("text/event-stream".to_owned(), json!({ "schema": reply }))])
        } else {
            let schema = |content: &str| match content {
                "application/json" => json!({ "schema": reply }),
                "application/octet-stream" => json!({ "schema": { "type": "string", "format": "binary" } }),
                _ => json!({ "schema": { "type": "string" } }),
            };
            E::CONTENT.iter().map(|content| ((*content).to_owned(), schema(content))).collect()
        };
        let problem = self.schemas.subschema_for::<Problem>();
        let mut operation = json!({
            "operationId": E::NAME,
            "summary": E::SUMMARY,
            "responses": {
                E::STATUS.to_string(): {
                    "description": if E::STREAM { "events, each with this as data" } else { "done" },
                    "content": content,
                },
                "default": {
                    "description": "refused",
                    "content": { "application/problem+json": { "schema": problem } },
                },
            },
        });
        if !parameters.is_empty() {
            operation["parameters"] = parameters.into();
        }
        if !is_nothing::<E::Body>() {
            let body = self.schemas.subschema_for::<E::Body>();
            operation["requestBody"] =
                json!({ "required": true, "content": { "application/json": { "schema": body } } });
        }
        let path = self.paths.entry(E::PATH).or_insert_with(|| json!({}));
        path[E::METHOD.as_str().to_ascii_lowercase()] = operation;
    }

    /// The fields of a flat object, as parameters.
    fn parameters<T: JsonSchema>(&mut self, place: &str) -> Vec<Value> {
        // In a throw-away generator: the object itself is no schema of the document, the types of its fields are.
        let object = self.schemas.settings().clone().into_generator().into_root_schema_for::<T>();
        let required: Vec<&str> =
            object.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        let Some(Value::Object(fields)) = object.get("properties") else { return Vec::new() };
        if let Some(Value::Object(definitions)) = object.get("components").and_then(|c| c.get("schemas")) {
            for (name, schema) in definitions {
                self.schemas.definitions_mut().entry(name.clone()).or_insert_with(|| schema.clone());
            }
        }
        let parameter = |(name, schema): (&String, &Value)| {
            let mut schema = schema.clone();
            let description = schema.as_object_mut().and_then(|schema| schema.remove("description"));
            let mut parameter = json!({
                "name": name, "in": place, "required": required.contains(&name.as_str()), "schema": schema,
            });
            if let Some(description) = description {
                parameter["description"] = description;
            }
            parameter
        };
        fields.iter().map(parameter).collect()
    }

    /// The finished document.
    pub fn finish(mut self) -> Value {
        json!({
            "openapi": "3.1.0",
            "info": { "title": self.title, "version": self.version },
            "paths": self.paths,
            "components": { "schemas": self.schemas.take_definitions(true) },
        })
    }
}

/// Whether a type says that there is nothing.
pub(crate) fn is_nothing<T: 'static>() -> bool {
    TypeId::of::<T>() == TypeId::of::<Nothing>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use lustre_api::filesystem::{GetFilesystem, ListFilesystems, PutFilesystem};

    #[test]
    fn every_reference_of_a_document_leads_somewhere() {
        let document = Document::new("test", "1").endpoint::<GetFilesystem>().endpoint::<PutFilesystem>();
        let document = document.endpoint::<ListFilesystems>().finish();
        let text = document.to_string();
        let references = text.split("\"$ref\":\"#").skip(1).map(|rest| rest.split('"').next().unwrap());
        let mut count = 0;
        for reference in references {
            assert!(document.pointer(reference).is_some(), "{reference} leads nowhere");
            count += 1;
        }
        assert!(count > 5, "{count} references");
        let operation = &document["paths"]["/v1/filesystems/{fsname}"]["put"];
        assert_eq!(operation["operationId"], "put_filesystem");
        assert_eq!(operation["parameters"][0]["in"], "path");
        assert_eq!(operation["parameters"][0]["required"], true);
        assert!(operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].is_string());
    }
}
