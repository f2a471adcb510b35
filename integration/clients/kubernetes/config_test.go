package kubernetes

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/respawntest"
)

// Certificates and exec commands need no virtual time: these tests use real sockets, and
// nothing in them waits.

// transports is the factory of Example_clientGo.
func transports(config *rest.Config) respawn.Factory {
	return func(context.Context) (http.RoundTripper, error) {
		fresh := rest.CopyConfig(config)
		if fresh.Proxy == nil {
			fresh.Proxy = http.ProxyFromEnvironment
		}
		return rest.TransportFor(fresh)
	}
}

func start(t *testing.T, base http.RoundTripper, opts ...respawn.Option) *respawn.RecoveringRoundTripper {
	t.Helper()
	rt, err := respawn.New(base, append([]respawn.Option{respawn.WithLogger(slog.New(slog.DiscardHandler))}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = rt.Close() })
	return rt
}

// A cluster is an API server that wants a token, and whose certificates can be rotated.
type cluster struct {
	*httptest.Server
	cert atomic.Pointer[tls.Certificate]
}

func newCluster(t *testing.T) (*cluster, []byte) {
	t.Helper()
	c := &cluster{}
	c.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("Authorization") != "Bearer token" {
			http.Error(w, "unauthorized", http.StatusUnauthorized)
			return
		}
		apiserver(w, req)
	}))
	ca := c.rotate(t)
	c.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return &tls.Config{Certificates: []tls.Certificate{*c.cert.Load()}, NextProtos: []string{"h2", "http/1.1"}}, nil
	}}
	c.EnableHTTP2, c.Config.ErrorLog = true, log.New(io.Discard, "", 0)
	c.StartTLS()
	t.Cleanup(c.Close)
	return c, ca
}

// rotate gives the server a certificate of a new CA, and returns the CA.
func (c *cluster) rotate(t *testing.T) (ca []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "a cluster"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		IsCA:        true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	c.cert.Store(&tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key})
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// call asks the cluster once, through rt.
func call(t *testing.T, config *rest.Config, rt http.RoundTripper) error {
	t.Helper()
	calls, err := typed(config, &http.Client{Transport: rt})
	require.NoError(t, err)
	return calls.Call(t.Context())
}

// The token can be in the config, in a file, or come from a command: each fresh transport
// sends it.
func TestEachKindOfTokenIsBeneath(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte("token"), 0o600))
	exe, err := os.Executable()
	require.NoError(t, err)
	for name, auth := range map[string]func(*rest.Config){
		"bearer": func(c *rest.Config) { c.BearerToken = "token" },
		"file":   func(c *rest.Config) { c.BearerTokenFile = file },
		"exec": func(c *rest.Config) {
			c.ExecProvider = &clientcmdapi.ExecConfig{
				Command: exe, Env: []clientcmdapi.ExecEnvVar{{Name: credentialFor, Value: t.Name()}},
				APIVersion: "client.authentication.k8s.io/v1", InteractiveMode: clientcmdapi.NeverExecInteractiveMode,
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			cluster, ca := newCluster(t)
			config := &rest.Config{Host: cluster.URL, TLSClientConfig: rest.TLSClientConfig{CAData: ca}}
			auth(config)
			rt := start(t, nil, respawn.WithFactory(transports(config)))
			require.NoError(t, call(t, config, rt))
			require.NoError(t, rt.Recreate(t.Context()))
			require.NoError(t, call(t, config, rt))
			assert.EqualValues(t, 2, rt.Health().Generation)
			require.NoError(t, rt.Shutdown(t.Context()))
		})
	}
}

const credentialFor = "RESPAWN_TEST_CREDENTIAL_FOR"

// printCredential is the command of an exec provider.
func printCredential() {
	fmt.Println(`{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"token"}}`)
}

// Once the server has a certificate of another CA, all new connections fail. The factory
// reads the CA's file again, so respawn recovers by itself.
func TestRotatedCAIsReadAgain(t *testing.T) {
	cluster, ca := newCluster(t)
	file := filepath.Join(t.TempDir(), "ca.crt")
	require.NoError(t, os.WriteFile(file, ca, 0o600))
	config := &rest.Config{Host: cluster.URL, BearerToken: "token", TLSClientConfig: rest.TLSClientConfig{CAFile: file}}
	bare, err := transports(config)(t.Context())
	require.NoError(t, err)
	defer utilnet.CloseIdleConnectionsFor(bare)
	base, err := transports(config)(t.Context())
	require.NoError(t, err)
	rt := start(t, base, respawn.WithFactory(transports(config)))
	require.NoError(t, call(t, config, bare))
	require.NoError(t, call(t, config, rt))

	require.NoError(t, os.WriteFile(file, cluster.rotate(t), 0o600))
	cluster.CloseClientConnections()
	var unverified *tls.CertificateVerificationError
	for range 5 {
		require.ErrorAs(t, call(t, config, bare), &unverified, "the fault is not real")
	}
	assert.NoError(t, call(t, config, rt))
	assert.EqualValues(t, 2, rt.Health().Generation)
	assert.Equal(t, respawn.TriggerTLSError, rt.Recreations()[0].Trigger)
	require.NoError(t, rt.Shutdown(t.Context()))
}

// innermost is the transport beneath all wrappers.
func innermost(rt http.RoundTripper) http.RoundTripper {
	for {
		wrapper, ok := rt.(utilnet.RoundTripperWrapper)
		if !ok {
			return rt
		}
		rt = wrapper.WrappedRoundTripper()
	}
}

// rest.TransportFor has a cache: it returns a new wrapper around the transport that is in
// service, and respawn refuses that. A config with a Proxy is not cached.
func TestTransportForReturnsWhatIsInServiceUnlessThereIsAProxy(t *testing.T) {
	cluster, ca := newCluster(t)
	config := &rest.Config{Host: cluster.URL, BearerToken: "token", TLSClientConfig: rest.TLSClientConfig{CAData: ca}}
	cached := func(context.Context) (http.RoundTripper, error) { return rest.TransportFor(config) }
	first, err := cached(t.Context())
	require.NoError(t, err)
	second, err := cached(t.Context())
	require.NoError(t, err)
	assert.NotSame(t, first, second)
	assert.Same(t, innermost(first), innermost(second))

	rt := start(t, first, respawn.WithFactory(cached))
	require.NoError(t, call(t, config, rt))
	assert.ErrorContains(t, rt.Recreate(t.Context()), "in service already")
	assert.Equal(t, respawn.ErrorTypeFactoryReused, rt.Recreations()[0].ErrorType)
	require.NoError(t, rt.Shutdown(t.Context()))

	third, err := transports(config)(t.Context())
	require.NoError(t, err)
	fourth, err := transports(config)(t.Context())
	require.NoError(t, err)
	assert.NotSame(t, innermost(third), innermost(fourth))
	assert.NotSame(t, innermost(first), innermost(fourth))
}

// client-go refuses Config.Transport in a config with certificates or an exec command. The
// constructors that take an http.Client accept both.
func TestConfigTransportIsRefusedBesideTLSOptions(t *testing.T) {
	cluster, ca := newCluster(t)
	exec := &clientcmdapi.ExecConfig{Command: "true", APIVersion: "client.authentication.k8s.io/v1", InteractiveMode: clientcmdapi.NeverExecInteractiveMode}
	for name, config := range map[string]*rest.Config{
		"a CA":      {Host: cluster.URL, BearerToken: "token", TLSClientConfig: rest.TLSClientConfig{CAData: ca}},
		"a command": {Host: cluster.URL, ExecProvider: exec},
	} {
		t.Run(name, func(t *testing.T) {
			rt := start(t, nil, respawn.WithFactory(transports(config)))
			with := rest.CopyConfig(config)
			with.Transport = rt
			_, err := dynamic.NewForConfig(with)
			assert.ErrorContains(t, err, "using a custom transport with TLS certificate options")
			_, err = dynamic.NewForConfigAndClient(config, &http.Client{Transport: rt})
			assert.NoError(t, err)
		})
	}
}

// Config.Wrap puts respawn beneath client-go's own wrappers. The transport there can be
// cloned only if it is not cached, which takes a Proxy, and if its CA is not in a file,
// which client-go would read again itself.
func TestWrapGetsATransportThatCanBeClonedOnlyWithAProxy(t *testing.T) {
	cluster, ca := newCluster(t)
	file := filepath.Join(t.TempDir(), "ca.crt")
	require.NoError(t, os.WriteFile(file, ca, 0o600))
	inMemory, inFile := rest.TLSClientConfig{CAData: ca}, rest.TLSClientConfig{CAFile: file}
	proxy := http.ProxyFromEnvironment
	for name, c := range map[string]struct {
		config  *rest.Config
		refused bool
	}{
		"CAData and Proxy": {&rest.Config{TLSClientConfig: inMemory, Proxy: proxy}, false},
		"CAData":           {&rest.Config{TLSClientConfig: inMemory}, true},
		"CAFile and Proxy": {&rest.Config{TLSClientConfig: inFile, Proxy: proxy}, true},
	} {
		t.Run(name, func(t *testing.T) {
			c.config.Host, c.config.BearerToken = cluster.URL, "token"
			var rt *respawn.RecoveringRoundTripper
			var failed error
			c.config.Wrap(func(base http.RoundTripper) http.RoundTripper {
				if rt, failed = respawn.New(base, respawn.WithLogger(slog.New(slog.DiscardHandler))); failed != nil {
					return base
				}
				return rt
			})
			client, err := rest.HTTPClientFor(c.config)
			require.NoError(t, err)
			if c.refused {
				assert.ErrorContains(t, failed, "put respawn beneath it")
				return
			}
			require.NoError(t, failed)
			require.NoError(t, call(t, c.config, client.Transport))
			require.NoError(t, rt.Recreate(t.Context()))
			require.NoError(t, call(t, c.config, client.Transport))
			require.NoError(t, rt.Shutdown(t.Context()))
		})
	}
}

// The factory keeps respawn's contract.
func TestFactoryKeepsItsContract(t *testing.T) {
	cluster, ca := newCluster(t)
	config := &rest.Config{Host: cluster.URL, BearerToken: "token", TLSClientConfig: rest.TLSClientConfig{CAData: ca}}
	respawntest.TestFactory(t, nil, transports(config), cluster.URL)
}
