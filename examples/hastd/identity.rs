//! Who this node is in TLS, as the files say that the configuration names.

use ha_core::io::hast::tls::Identity;
use hast_proto::ResourceName;
use hast_proto::conf::{Config, ResourceConfig};

/// Reads the files, if any resource is replicated in TLS; each of those must be one that the
/// certificate is for.
pub(crate) fn load(config: &Config) -> Result<Option<Identity>, String> {
    let resources = config.resources.iter();
    let in_tls: Vec<&ResourceConfig> = resources.filter(|it| it.tls.is_on()).collect();
    let tls = &config.tls;
    let (false, Some(certificate), Some(key), Some(authority)) = (
        in_tls.is_empty(),
        &tls.certificate,
        &tls.key,
        &tls.authority,
    ) else {
        // Whoever wants TLS has all three; the configuration was checked for that.
        return Ok(None);
    };
    let path = |path: &hast_proto::conf::Path| std::path::PathBuf::from(path.as_str());
    let identity = Identity::load(&path(certificate), &path(key), &path(authority));
    let identity = identity.map_err(|error| format!("tls: {error}"))?;
    for resource in in_tls {
        let name = ResourceName::new(resource.name.as_str()).map_err(|error| error.to_string())?;
        if !identity.is_for(&name) {
            return Err(format!(
                "tls: the certificate in {certificate} is not for the resource {name}"
            ));
        }
    }
    Ok(Some(identity))
}
