//! Each call of the protocol, delegated.

use tonic::{Request, Response, Status};

use super::{FunctionEntry, Server, read_value, shielded, write_value};
use crate::diagnostics::Diagnostics;
use crate::framework::{FunctionError, Parameter};
use crate::proto::{self, provider_server::Provider as Service};
use crate::ty::Type;

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Service for Server {
    async fn get_metadata(&self, _: Request<proto::get_metadata::Request>) -> Answer<proto::get_metadata::Response> {
        use proto::get_metadata::{DataSourceMetadata, FunctionMetadata, ResourceMetadata, Response as Metadata};
        Ok(Response::new(Metadata {
            server_capabilities: Some(capabilities()),
            resources: self.resources.keys().map(|name| ResourceMetadata { type_name: name.clone() }).collect(),
            data_sources: self.data_sources.keys().map(|name| DataSourceMetadata { type_name: name.clone() }).collect(),
            functions: self.functions.keys().map(|name| FunctionMetadata { name: name.clone() }).collect(),
            ..Default::default()
        }))
    }

    async fn get_provider_schema(
        &self,
        _: Request<proto::get_provider_schema::Request>,
    ) -> Answer<proto::get_provider_schema::Response> {
        let resources = self.resources.iter();
        let lists = self.resources.iter();
        let data_sources = self.data_sources.iter();
        Ok(Response::new(proto::get_provider_schema::Response {
            provider: Some(self.config.schema.to_proto()),
            resource_schemas: resources.map(|(name, entry)| (name.clone(), entry.typed.schema.to_proto())).collect(),
            list_resource_schemas: lists
                .filter_map(|(name, entry)| Some((name.clone(), entry.list.as_ref()?.schema.to_proto())))
                .collect(),
            data_source_schemas: data_sources
                .map(|(name, entry)| (name.clone(), entry.typed.schema.to_proto()))
                .collect(),
            // terraform 1.11 never calls GetFunctions: they must be here.
            functions: self.functions.iter().map(|(name, entry)| (name.clone(), function_to_proto(entry))).collect(),
            server_capabilities: Some(capabilities()),
            ..Default::default()
        }))
    }

    async fn get_functions(&self, _: Request<proto::get_functions::Request>) -> Answer<proto::get_functions::Response> {
        let functions = self.functions.iter().map(|(name, entry)| (name.clone(), function_to_proto(entry)));
        Ok(Response::new(proto::get_functions::Response { functions: functions.collect(), diagnostics: Vec::new() }))
    }

    async fn validate_provider_config(
        &self,
        request: Request<proto::validate_provider_config::Request>,
    ) -> Answer<proto::validate_provider_config::Response> {
        let mut diags = Diagnostics::default();
        match self.config.read(request.into_inner().config) {
            Ok(config) => {
                shielded("the check of the provider block", &mut diags, async |diags| {
                    self.provider.validate(&config, diags).await;
                })
                .await;
            }
            Err(diag) => diags.push(diag),
        }
        Ok(Response::new(proto::validate_provider_config::Response { diagnostics: diags.into_proto() }))
    }

    async fn configure_provider(
        &self,
        request: Request<proto::configure_provider::Request>,
    ) -> Answer<proto::configure_provider::Response> {
        let mut diags = Diagnostics::default();
        match self.config.read(request.into_inner().config) {
            Ok(config) => {
                shielded("the provider's configuration", &mut diags, async |diags| {
                    self.provider.configure(&config, diags).await;
                })
                .await;
            }
            Err(diag) => diags.push(diag),
        }
        Ok(Response::new(proto::configure_provider::Response { diagnostics: diags.into_proto() }))
    }

    async fn stop_provider(&self, _: Request<proto::stop_provider::Request>) -> Answer<proto::stop_provider::Response> {
        self.provider.stop();
        Ok(Response::new(proto::stop_provider::Response::default()))
    }

    async fn validate_resource_config(
        &self,
        request: Request<proto::validate_resource_config::Request>,
    ) -> Answer<proto::validate_resource_config::Response> {
        let request = request.into_inner();
        let mut diags = Diagnostics::default();
        match self.resource(&request.type_name).and_then(|entry| Ok((entry, entry.typed.read(request.config)?))) {
            Ok((entry, config)) => {
                shielded(&format!("the check of {}", request.type_name), &mut diags, async |diags| {
                    entry.resource.validate(&config, diags).await;
                })
                .await;
            }
            Err(diag) => diags.push(diag),
        }
        Ok(Response::new(proto::validate_resource_config::Response { diagnostics: diags.into_proto() }))
    }

    async fn get_resource_identity_schemas(
        &self,
        _: Request<proto::get_resource_identity_schemas::Request>,
    ) -> Answer<proto::get_resource_identity_schemas::Response> {
        let identity_schemas = self.identity_schemas();
        Ok(Response::new(proto::get_resource_identity_schemas::Response { identity_schemas, diagnostics: Vec::new() }))
    }

    async fn upgrade_resource_identity(
        &self,
        request: Request<proto::upgrade_resource_identity::Request>,
    ) -> Answer<proto::upgrade_resource_identity::Response> {
        Ok(Response::new(self.upgrade_identity(&request.into_inner())))
    }

    async fn validate_list_resource_config(
        &self,
        request: Request<proto::validate_list_resource_config::Request>,
    ) -> Answer<proto::validate_list_resource_config::Response> {
        Ok(Response::new(self.validate_list(request.into_inner())))
    }

    async fn list_resource(
        &self,
        request: Request<proto::list_resource::Request>,
    ) -> Answer<tonic::codegen::BoxStream<proto::list_resource::Event>> {
        let events = self.list(request.into_inner()).await;
        Ok(Response::new(Box::pin(futures::stream::iter(events.into_iter().map(Ok)))))
    }

    async fn upgrade_resource_state(
        &self,
        request: Request<proto::upgrade_resource_state::Request>,
    ) -> Answer<proto::upgrade_resource_state::Response> {
        Ok(Response::new(self.upgrade(request.into_inner())))
    }

    async fn read_resource(
        &self,
        request: Request<proto::read_resource::Request>,
    ) -> Answer<proto::read_resource::Response> {
        Ok(Response::new(self.read(request.into_inner()).await))
    }

    async fn plan_resource_change(
        &self,
        request: Request<proto::plan_resource_change::Request>,
    ) -> Answer<proto::plan_resource_change::Response> {
        Ok(Response::new(self.plan(request.into_inner()).await))
    }

    async fn apply_resource_change(
        &self,
        request: Request<proto::apply_resource_change::Request>,
    ) -> Answer<proto::apply_resource_change::Response> {
        Ok(Response::new(self.apply(request.into_inner()).await))
    }

    async fn import_resource_state(
        &self,
        request: Request<proto::import_resource_state::Request>,
    ) -> Answer<proto::import_resource_state::Response> {
        Ok(Response::new(self.import(request.into_inner()).await))
    }

    async fn validate_data_resource_config(
        &self,
        request: Request<proto::validate_data_resource_config::Request>,
    ) -> Answer<proto::validate_data_resource_config::Response> {
        let request = request.into_inner();
        let mut diags = Diagnostics::default();
        match self.data_source(&request.type_name).and_then(|entry| Ok((entry, entry.typed.read(request.config)?))) {
            Ok((entry, config)) => {
                shielded(&format!("the check of data source {}", request.type_name), &mut diags, async |diags| {
                    entry.source.validate(&config, diags).await;
                })
                .await;
            }
            Err(diag) => diags.push(diag),
        }
        Ok(Response::new(proto::validate_data_resource_config::Response { diagnostics: diags.into_proto() }))
    }

    async fn read_data_source(
        &self,
        request: Request<proto::read_data_source::Request>,
    ) -> Answer<proto::read_data_source::Response> {
        let request = request.into_inner();
        let mut diags = Diagnostics::default();
        let mut state = None;
        match self.data_source(&request.type_name).and_then(|entry| Ok((entry, entry.typed.read(request.config)?))) {
            Ok((entry, config)) => {
                let what = format!("the read of data source {}", request.type_name);
                let read = async |diags: &mut Diagnostics| entry.source.read(&config, diags).await;
                let value = shielded(&what, &mut diags, read).await.flatten();
                match value.map(|value| entry.typed.write(&value)) {
                    Some(Ok(value)) => state = Some(value),
                    Some(Err(diag)) => diags.push(diag),
                    None if diags.has_errors() => {}
                    None => diags.error("Nothing was read", format!("Bug in the provider: {what} gave no answer.")),
                }
            }
            Err(diag) => diags.push(diag),
        }
        Ok(Response::new(proto::read_data_source::Response { state, diagnostics: diags.into_proto(), deferred: None }))
    }

    async fn call_function(
        &self,
        request: Request<proto::call_function::Request>,
    ) -> Answer<proto::call_function::Response> {
        let (result, error) = match self.function(request.into_inner()) {
            Ok(result) => (Some(result), None),
            Err(err) => (
                None,
                Some(proto::FunctionError {
                    text: err.text,
                    function_argument: err.argument.and_then(|index| i64::try_from(index).ok()),
                }),
            ),
        };
        Ok(Response::new(proto::call_function::Response { result, error }))
    }
}

impl Server {
    fn function(&self, request: proto::call_function::Request) -> Result<proto::DynamicValue, FunctionError> {
        let whole = |text: String| FunctionError { text, argument: None };
        let name = &request.name;
        let entry = self.functions.get(name).ok_or_else(|| whole(format!("this provider has no function {name:?}")))?;
        let parameters = &entry.signature.parameters;
        if parameters.len() != request.arguments.len() {
            return Err(whole(format!("{} arguments expected, {} given", parameters.len(), request.arguments.len())));
        }
        let arguments = parameters.iter().zip(request.arguments).enumerate().map(|(index, (parameter, argument))| {
            read_value(&parameter.ty, Some(argument))
                .map_err(|err| FunctionError { text: err.to_string(), argument: Some(index) })
        });
        let arguments: Vec<_> = arguments.collect::<Result<_, _>>()?;
        let call = std::panic::AssertUnwindSafe(|| entry.function.call(&arguments));
        let result =
            std::panic::catch_unwind(call).map_err(|_| whole(format!("bug in the provider: {name} crashed")))??;
        write_value(&entry.signature.returns, &result)
            .map_err(|err| whole(format!("bug in the provider: {name} returned a wrong value: {err}")))
    }
}

fn capabilities() -> proto::ServerCapabilities {
    proto::ServerCapabilities {
        // A destroy is planned like a change: that is where it is refused, before the question for approval.
        plan_destroy: true,
        get_provider_schema_optional: true,
        ..Default::default()
    }
}

fn function_to_proto(entry: &FunctionEntry) -> proto::Function {
    let ty = |ty: &Type| ty.to_json().to_string().into();
    let parameter = |parameter: &Parameter| proto::function::Parameter {
        name: parameter.name.clone(),
        r#type: ty(&parameter.ty),
        description: parameter.description.clone(),
        description_kind: proto::StringKind::Markdown.into(),
        ..Default::default()
    };
    let signature = &entry.signature;
    proto::Function {
        parameters: signature.parameters.iter().map(parameter).collect(),
        r#return: Some(proto::function::Return { r#type: ty(&signature.returns) }),
        summary: signature.summary.clone(),
        description: signature.description.clone(),
        description_kind: proto::StringKind::Markdown.into(),
        ..Default::default()
    }
}
