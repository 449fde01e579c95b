// Keys, certificates and kubeconfigs. All of them are made anew for each control plane.

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// serviceAddresses are what Services get their addresses from; the first is the API server's own.
const (
	serviceAddresses = "10.96.0.0/16"
	apiServerAddress = "10.96.0.1"
)

// credentials names the files that were written.
type credentials struct {
	directory            string
	port                 int
	server               string
	controllerKubeconfig string
	administrator        string
}

func (c credentials) path(name string) string { return filepath.Join(c.directory, name) }

// authority signs certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         []byte
}

func writeCredentials(options options) (credentials, error) {
	port, err := freePort()
	if err != nil {
		return credentials{}, err
	}
	files := credentials{
		directory:            filepath.Join(options.directory, "credentials"),
		port:                 port,
		server:               fmt.Sprintf("https://127.0.0.1:%d", port),
		controllerKubeconfig: filepath.Join(options.directory, "credentials", "kube-controller-manager.kubeconfig"),
		administrator:        options.kubeconfig,
	}
	if err := os.MkdirAll(files.directory, 0o700); err != nil {
		return files, err
	}
	cluster, err := files.newAuthority("cluster-ca")
	if err != nil {
		return files, err
	}
	frontProxy, err := files.newAuthority("front-proxy-ca")
	if err != nil {
		return files, err
	}
	serving := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "kube-apiserver"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"},
		IPAddresses: []net.IP{net.ParseIP("127.0.0.1"), net.ParseIP(apiServerAddress)},
	}
	if _, _, err := files.issue(cluster, "kube-apiserver", serving); err != nil {
		return files, err
	}
	if _, _, err := files.issue(frontProxy, "front-proxy-client", client("front-proxy-client")); err != nil {
		return files, err
	}
	if _, err := files.newKey("service-account"); err != nil {
		return files, err
	}
	kubeconfigs := []struct {
		path, user string
		groups     []string
	}{
		{files.administrator, "administrator", []string{"system:masters"}},
		{files.controllerKubeconfig, "system:kube-controller-manager", nil},
	}
	for _, it := range kubeconfigs {
		certificate, key, err := files.issue(cluster, filepath.Base(it.path), client(it.user, it.groups...))
		if err != nil {
			return files, err
		}
		config := clientcmdapi.NewConfig()
		config.Clusters["control-plane"] = &clientcmdapi.Cluster{Server: files.server, CertificateAuthorityData: cluster.pem}
		config.AuthInfos["user"] = &clientcmdapi.AuthInfo{ClientCertificateData: certificate, ClientKeyData: key}
		config.Contexts["control-plane"] = &clientcmdapi.Context{Cluster: "control-plane", AuthInfo: "user"}
		config.CurrentContext = "control-plane"
		if err := clientcmd.WriteToFile(*config, it.path); err != nil {
			return files, err
		}
	}
	return files, nil
}

func client(user string, groups ...string) *x509.Certificate {
	return &x509.Certificate{
		Subject:     pkix.Name{CommonName: user, Organization: groups},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
}

func (c credentials) newAuthority(name string) (*authority, error) {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	encoded, _, err := c.issue(nil, name, template)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(encoded)
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	key, err := os.ReadFile(c.path(name + ".key"))
	if err != nil {
		return nil, err
	}
	keyBlock, _ := pem.Decode(key)
	private, err := x509.ParseECPrivateKey(keyBlock.Bytes)
	return &authority{certificate, private, encoded}, err
}

// issue writes NAME.crt and NAME.key; without an authority the certificate signs itself.
func (c credentials) issue(by *authority, name string, template *x509.Certificate) ([]byte, []byte, error) {
	key, err := c.newKey(name)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, nil, err
	}
	template.SerialNumber = serial
	template.NotBefore = time.Now().Add(-time.Hour)
	template.NotAfter = time.Now().Add(30 * 24 * time.Hour)
	if template.KeyUsage == 0 {
		template.KeyUsage = x509.KeyUsageDigitalSignature
	}
	parent, signer := template, key
	if by != nil {
		parent, signer = by.certificate, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return nil, nil, err
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(c.path(name+".crt"), certificate, 0o600); err != nil {
		return nil, nil, err
	}
	encodedKey, err := os.ReadFile(c.path(name + ".key"))
	return certificate, encodedKey, err
}

func (c credentials) newKey(name string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	encoded := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
	return key, os.WriteFile(c.path(name+".key"), encoded, 0o600)
}

// freePort finds a port that nobody listens on. The API server keeps it when it is restarted, so it is none of those
// that the system gives to outgoing connections.
func freePort() (int, error) {
	const first, count = 20000, 12000
	var last error
	for range 100 {
		offset, err := rand.Int(rand.Reader, big.NewInt(count))
		if err != nil {
			return 0, err
		}
		port := first + int(offset.Int64())
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return port, listener.Close()
		}
		last = err
	}
	return 0, fmt.Errorf("finding a free port: %w", last)
}
