//! Whether traces are collected, where they go, and which: own flags first, then the variables that every
//! OpenTelemetry SDK knows (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>).
//!
//! What only the exporter needs (headers, timeout, compression) it reads itself.

use crate::config::values::ValueError;
use clap::{Args, ValueEnum};
use hyper::Uri;
use hyper::header::{HeaderName, HeaderValue};
use opentelemetry_sdk::trace::Sampler;
use std::time::Duration;

/// Settings of traces.
#[derive(Args, Clone, Debug)]
pub struct TraceSettings {
    /// Collector of traces (OTLP), http:// or https://. Default: OTEL_EXPORTER_OTLP_ENDPOINT, else no traces.
    #[arg(long, env = "FANTAIL_OTLP_ENDPOINT", value_name = "URL")]
    #[arg(value_parser = |text: &str| endpoint(text).map(|()| text.to_owned()))]
    pub otlp_endpoint: Option<String>,
    /// Protocol of the collector. Default: OTEL_EXPORTER_OTLP_PROTOCOL, else grpc on port 4317 and http on others.
    #[arg(long, env = "FANTAIL_OTLP_PROTOCOL", value_enum, ignore_case = true)]
    pub otlp_protocol: Option<Protocol>,
    /// Share of the traces that begin here to collect, 0 to 1. Default: OTEL_TRACES_SAMPLER, else all. A caller's
    /// decision in traceparent comes first.
    #[arg(long, env = "FANTAIL_TRACE_RATIO", value_name = "RATIO")]
    #[arg(value_parser = ratio)]
    pub trace_ratio: Option<f64>,
}

/// How the collector is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Protocol {
    Grpc,
    /// Protobuf in HTTP/1.1.
    #[value(aliases = ["http/protobuf"])]
    Http,
}

/// How traces are collected.
#[derive(Clone, Debug)]
pub struct Plan {
    /// With the path for traces where the protocol has one.
    pub endpoint: String,
    pub protocol: Protocol,
    pub sampler: Sampler,
    /// Spans that wait for the collector at most.
    pub queue: usize,
    /// Spans of one request at most.
    pub batch: usize,
    /// Longest time that a span waits for others.
    pub delay: Duration,
    /// Time for one request, repetitions included.
    pub timeout: Duration,
    /// File with the certificates that the collector's may be signed by, beside the system's.
    pub certificate: Option<String>,
}

/// Why traces cannot be collected as the variables say; names the variable.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error("{name} {value:?}: use {known}")]
    Unknown { name: String, value: String, known: &'static str },
    #[error("{name} {value:?}: {why}")]
    Value {
        name: String,
        value: String,
        #[source]
        why: ValueError,
    },
    /// Of a variable whose value may be secret.
    #[error("{name}: {why}")]
    Secret {
        name: String,
        #[source]
        why: ValueError,
    },
}

impl PlanError {
    fn unknown(name: impl Into<String>, value: impl Into<String>, known: &'static str) -> PlanError {
        PlanError::Unknown { name: name.into(), value: value.into(), known }
    }
}

/// What the specification has as defaults of the batch processor.
const QUEUE: usize = 2_048;
const BATCH: usize = 512;
const DELAY_MS: usize = 5_000;
const TIMEOUT_MS: usize = 30_000;

impl TraceSettings {
    /// The plan by these flags and the variables; `None` where traces are off, `Err` names what is wrong.
    pub fn plan(&self, variable: impl Fn(&str) -> Option<String>) -> Result<Option<Plan>, PlanError> {
        // Specification: an empty value counts as unset.
        let variables = Variables(&|name| variable(name).filter(|value| !value.trim().is_empty()));
        if variables.get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        match variables.get("OTEL_TRACES_EXPORTER").as_deref() {
            None | Some("otlp") => {}
            Some("none") => return Ok(None),
            Some(other) => return Err(PlanError::unknown("OTEL_TRACES_EXPORTER", other, "otlp or none")),
        }
        let Some((endpoint, whole)) = self.endpoint(&variables)? else { return Ok(None) };
        let protocol = self.protocol(&variables, &endpoint)?;
        let endpoint = match protocol {
            Protocol::Http if !whole => format!("{}/v1/traces", endpoint.trim_end_matches('/')),
            _ => endpoint,
        };
        variables.verify_exporter()?;
        let queue = variables.number("OTEL_BSP_MAX_QUEUE_SIZE", QUEUE)?;
        Ok(Some(Plan {
            endpoint,
            protocol,
            sampler: self.sampler(&variables)?,
            queue,
            batch: variables.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", BATCH)?.min(queue),
            delay: Duration::from_millis(variables.number("OTEL_BSP_SCHEDULE_DELAY", DELAY_MS)? as u64),
            timeout: Duration::from_millis(variables.number("OTEL_BSP_EXPORT_TIMEOUT", TIMEOUT_MS)? as u64),
            certificate: variables.of_traces("CERTIFICATE").map(|(_, path)| path),
        }))
    }

    /// The endpoint, and whether it has its path already.
    fn endpoint(&self, variables: &Variables) -> Result<Option<(String, bool)>, PlanError> {
        if let Some(given) = &self.otlp_endpoint {
            return Ok(Some((given.clone(), given.ends_with("/v1/traces"))));
        }
        let Some((name, url)) = variables.of_traces("ENDPOINT") else { return Ok(None) };
        let whole = name == "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
        endpoint(&url).map_err(|why| PlanError::Secret { name, why })?;
        Ok(Some((url, whole)))
    }

    fn protocol(&self, variables: &Variables, endpoint: &str) -> Result<Protocol, PlanError> {
        if let Some(given) = self.otlp_protocol {
            return Ok(given);
        }
        match variables.of_traces("PROTOCOL") {
            Some((_, value)) if value == "grpc" => Ok(Protocol::Grpc),
            Some((_, value)) if value == "http/protobuf" => Ok(Protocol::Http),
            Some((name, value)) => Err(PlanError::unknown(name, value, "grpc or http/protobuf")),
            None => {
                let port = endpoint.parse::<Uri>().ok().and_then(|uri| uri.port_u16());
                Ok(if port == Some(4317) { Protocol::Grpc } else { Protocol::Http })
            }
        }
    }

    fn sampler(&self, variables: &Variables) -> Result<Sampler, PlanError> {
        let by_parent = |sampler| Sampler::ParentBased(Box::new(sampler));
        if let Some(ratio) = self.trace_ratio {
            return Ok(by_parent(Sampler::TraceIdRatioBased(ratio)));
        }
        let share = || match variables.get("OTEL_TRACES_SAMPLER_ARG") {
            None => Ok(1.0),
            Some(value) => {
                ratio(&value).map_err(|why| PlanError::Value { name: "OTEL_TRACES_SAMPLER_ARG".to_owned(), value, why })
            }
        };
        match variables.get("OTEL_TRACES_SAMPLER").as_deref() {
            None | Some("parentbased_always_on") => Ok(by_parent(Sampler::AlwaysOn)),
            Some("parentbased_always_off") => Ok(by_parent(Sampler::AlwaysOff)),
            Some("parentbased_traceidratio") => Ok(by_parent(Sampler::TraceIdRatioBased(share()?))),
            Some("always_on") => Ok(Sampler::AlwaysOn),
            Some("always_off") => Ok(Sampler::AlwaysOff),
            Some("traceidratio") => Ok(Sampler::TraceIdRatioBased(share()?)),
            Some(other) => {
                let known = "always_on, always_off, traceidratio, or one of these behind parentbased_";
                Err(PlanError::unknown("OTEL_TRACES_SAMPLER", other, known))
            }
        }
    }
}

struct Variables<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Variables<'_> {
    fn get(&self, name: &str) -> Option<String> {
        (self.0)(name)
    }

    /// `OTEL_EXPORTER_OTLP_TRACES_…`, else `OTEL_EXPORTER_OTLP_…`, with its name.
    fn of_traces(&self, what: &str) -> Option<(String, String)> {
        let names = [format!("OTEL_EXPORTER_OTLP_TRACES_{what}"), format!("OTEL_EXPORTER_OTLP_{what}")];
        names.into_iter().find_map(|name| self.get(&name).map(|value| (name, value)))
    }

    /// What the exporter reads by itself, and would pass over where it means nothing.
    fn verify_exporter(&self) -> Result<(), PlanError> {
        if let Some((name, text)) = self.of_traces("HEADERS") {
            headers(&text).map_err(|why| PlanError::Secret { name, why })?;
        }
        if let Some((name, text)) =
            self.of_traces("COMPRESSION").filter(|(_, text)| !matches!(&text[..], "gzip" | "none"))
        {
            return Err(PlanError::unknown(name, text, "gzip or none"));
        }
        if let Some((name, _)) = self.of_traces("TIMEOUT") {
            self.number(&name, TIMEOUT_MS)?;
        }
        Ok(())
    }

    fn number(&self, name: &str, default: usize) -> Result<usize, PlanError> {
        let Some(value) = self.get(name) else { return Ok(default) };
        match value.trim().parse() {
            Ok(number) if (1..=1_000_000).contains(&number) => Ok(number),
            _ => {
                let why = ValueError::new("not a number from 1 to 1000000");
                Err(PlanError::Value { name: name.to_owned(), value, why })
            }
        }
    }
}

/// `name=value,…`, values percent-encoded (OpenTelemetry, "Specifying headers via environment variables"). An error never
/// shows a value, for those are keys.
fn headers(text: &str) -> Result<(), ValueError> {
    for (number, member) in (1..).zip(text.split(',').map(str::trim)).filter(|(_, member)| !member.is_empty()) {
        let Some((name, value)) = member.split_once('=') else {
            return Err(ValueError::new(format!("header {number} has no =, it is to be name=value")));
        };
        let no_name = |_| ValueError::new(format!("header {number} has a name that headers cannot have"));
        let name: HeaderName = name.trim().parse().map_err(no_name)?;
        let value: Vec<u8> = percent_encoding::percent_decode_str(value.trim()).collect();
        let no_value = |_| ValueError::new(format!("header {name} has a value that headers cannot have"));
        HeaderValue::from_bytes(&value).map_err(no_value)?;
    }
    Ok(())
}

fn endpoint(text: &str) -> Result<(), ValueError> {
    let no_url = || ValueError::new("not a URL such as http://127.0.0.1:4317");
    let uri: Uri = text.parse().map_err(|_| no_url())?;
    match uri.scheme_str() {
        Some("http" | "https") if uri.authority().is_some_and(|a| a.as_str().contains('@')) => {
            Err(ValueError::new("a URL with a user in it is not taken; OTEL_EXPORTER_OTLP_HEADERS is for that"))
        }
        Some("http" | "https") if uri.host().is_some_and(|host| !host.is_empty()) => Ok(()),
        _ => Err(no_url()),
    }
}

fn ratio(text: &str) -> Result<f64, ValueError> {
    match text.trim().parse() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        _ => Err(ValueError::new("not a number from 0 to 1")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: TraceSettings = TraceSettings { otlp_endpoint: None, otlp_protocol: None, trace_ratio: None };

    fn planned(settings: &TraceSettings, variables: &[(&str, &str)]) -> Result<Option<Plan>, String> {
        let plan =
            settings.plan(|name| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()));
        plan.map_err(|error| error.to_string())
    }

    #[test]
    fn off_unless_there_is_an_endpoint() {
        let on = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317");
        assert!(planned(&NONE, &[]).unwrap().is_none());
        assert!(planned(&NONE, &[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]).unwrap().is_none());
        assert!(planned(&NONE, &[on]).unwrap().is_some());
        assert!(planned(&NONE, &[on, ("OTEL_SDK_DISABLED", "True")]).unwrap().is_none());
        assert!(planned(&NONE, &[on, ("OTEL_TRACES_EXPORTER", "none")]).unwrap().is_none());
    }

    #[test]
    fn endpoint_and_protocol() {
        let place = |settings: &TraceSettings, variables: &[(&str, &str)]| {
            let plan = planned(settings, variables).unwrap().unwrap();
            (plan.endpoint, plan.protocol)
        };
        let given = |url: &str| TraceSettings { otlp_endpoint: Some(url.into()), ..NONE };
        assert_eq!(place(&given("http://c:4317"), &[]), ("http://c:4317".into(), Protocol::Grpc));
        assert_eq!(place(&given("http://c:4318"), &[]), ("http://c:4318/v1/traces".into(), Protocol::Http));
        assert_eq!(place(&given("https://c/p/v1/traces"), &[]), ("https://c/p/v1/traces".into(), Protocol::Http));
        let general = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:9/");
        assert_eq!(place(&given("http://d:1"), &[general]).0, "http://d:1/v1/traces", "a flag counts more");
        assert_eq!(place(&NONE, &[general]), ("http://c:9/v1/traces".into(), Protocol::Http));
        assert_eq!(place(&NONE, &[general, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]).1, Protocol::Grpc);
        let special = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t:9/as-is");
        assert_eq!(place(&NONE, &[general, special]).0, "http://t:9/as-is");
    }

    #[test]
    fn samplers() {
        let sampler = |settings: &TraceSettings, variables: &[(&str, &str)]| {
            let on = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317");
            format!("{:?}", planned(settings, &[&[on], variables].concat()).unwrap().unwrap().sampler)
        };
        assert_eq!(sampler(&NONE, &[]), "ParentBased(AlwaysOn)");
        let a_tenth = TraceSettings { trace_ratio: Some(0.1), ..NONE };
        let variable = ("OTEL_TRACES_SAMPLER", "traceidratio");
        assert_eq!(sampler(&a_tenth, &[variable]), "ParentBased(TraceIdRatioBased(0.1))");
        assert_eq!(sampler(&NONE, &[variable]), "TraceIdRatioBased(1.0)");
        assert_eq!(sampler(&NONE, &[variable, ("OTEL_TRACES_SAMPLER_ARG", "0.25")]), "TraceIdRatioBased(0.25)");
    }

    #[test]
    fn wrong_variables_are_named() {
        let on = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317");
        for url in ["c:secret", "http://user:secret@c:4317"] {
            let error = planned(&NONE, &[("OTEL_EXPORTER_OTLP_ENDPOINT", url)]).unwrap_err();
            assert!(error.starts_with("OTEL_EXPORTER_OTLP_ENDPOINT: ") && !error.contains("secret"), "{error}");
        }
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
        ] {
            let error = planned(&NONE, &[on, (name, value)]).unwrap_err();
            assert!(error.starts_with(name) && error.contains(value), "{error}");
        }
        let half = ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio");
        let error = planned(&NONE, &[on, half, ("OTEL_TRACES_SAMPLER_ARG", "50%")]).unwrap_err();
        assert_eq!(error, "OTEL_TRACES_SAMPLER_ARG \"50%\": not a number from 0 to 1");
    }

    #[test]
    fn headers_are_read_or_named_without_their_values() {
        let on = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317");
        for good in ["a=b", "api-key=s3cret%20x, other = y,", "k=a=b==", "k="] {
            assert!(planned(&NONE, &[on, ("OTEL_EXPORTER_OTLP_HEADERS", good)]).is_ok(), "{good}");
        }
        for (name, bad) in [
            ("OTEL_EXPORTER_OTLP_HEADERS", "s3cret"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=b,s3cret"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "api key: s3cret=="),
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=s3cret%0Ax"),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "=s3cret"),
        ] {
            let error = planned(&NONE, &[on, (name, bad)]).unwrap_err();
            assert!(error.starts_with(&format!("{name}: header ")) && !error.contains("s3cret"), "{error}");
        }
    }
}
