//! Signatures of commits by an SSH key, as `git verify-commit` checks them with `gpg.format=ssh` (SSHSIG, namespace `git`).

use ssh_key::{Algorithm, EcdsaCurve, HashAlg, LineEnding, PrivateKey};

use crate::{
    error::{Classified, ErrorKind},
    masked::Masked,
};

/// Git's name for what the signature is about.
const NAMESPACE: &str = "git";

/// A private key that signs commits.
#[derive(Debug)]
pub struct SigningKey(Masked<PrivateKey>);

/// Why a key cannot sign.
#[derive(Debug, thiserror::Error)]
pub enum SigningKeyError {
    /// The text is no key.
    #[error("cannot read the signing key: give a private key in OpenSSH format, as ssh-keygen makes it")]
    Unreadable(#[source] ssh_key::Error),
    /// A passphrase protects the key, and nobody is there to be asked for it.
    #[error("the signing key has a passphrase: give one without")]
    Encrypted,
    /// Keys of this kind do not sign here.
    #[error("the signing key is of type {0}: give one of type ed25519 (or ecdsa with 256 or 384 bits)")]
    Kind(String),
}

impl Classified for SigningKeyError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Configuration
    }
}

impl SigningKey {
    /// Reads a private key in OpenSSH format: Ed25519, or ECDSA on P-256 or P-384.
    ///
    /// # Errors
    /// [`SigningKeyError`].
    pub fn parse(text: &str) -> Result<Self, SigningKeyError> {
        let key = PrivateKey::from_openssh(text.trim()).map_err(SigningKeyError::Unreadable)?;
        if key.is_encrypted() {
            return Err(SigningKeyError::Encrypted);
        }
        let (p256, p384) = (EcdsaCurve::NistP256, EcdsaCurve::NistP384);
        match key.algorithm() {
            Algorithm::Ed25519 => {}
            Algorithm::Ecdsa { curve } if curve == p256 || curve == p384 => {}
            other => return Err(SigningKeyError::Kind(other.as_str().to_owned())),
        }
        Ok(Self(Masked::new(key)))
    }

    /// The armoured signature of a commit's bytes.
    pub(super) fn sign(&self, commit: &[u8]) -> Result<String, git2::Error> {
        let signature = self.0.reveal().sign(NAMESPACE, HashAlg::Sha512, commit);
        let armoured = signature.and_then(|signature| signature.to_pem(LineEnding::LF));
        armoured.map_err(|error| git2::Error::from_str(&format!("cannot sign the commit: {error}")))
    }
}
