//! One small application of ten objects of different kinds.

const MANIFESTS: &str = include_str!("application.yaml");

/// The manifests of the application with this number.
pub fn application(number: usize) -> String {
    MANIFESTS
        .replace("{i}", &number.to_string())
        .replace("{t}", &(number % 5).to_string())
        .replace("{m}", &(number % 20).to_string())
        .replace("{g}", &(number % 10).to_string())
}
