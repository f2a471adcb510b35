package elastic

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/elastic/go-elasticsearch/v9"
	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/integration/clients"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// pin makes t accept only a server with that certificate, as WithCertificateFingerprint
// does. That option is for an *http.Transport; above respawn it would be ignored. A clone
// of t has the pin, too.
func pin(t *http.Transport, fingerprint string) {
	t.TLSClientConfig = &tls.Config{
		InsecureSkipVerify: true, // the pin takes the place of a CA
		VerifyConnection: func(state tls.ConnectionState) error {
			for _, cert := range state.PeerCertificates {
				if sum := sha256.Sum256(cert.Raw); hex.EncodeToString(sum[:]) == fingerprint {
					return nil
				}
			}
			return errors.New("not the pinned certificate")
		},
	}
}

// ask searches once, with the options of a user.
func ask(t *testing.T, opts ...elasticsearch.Option) error {
	client, err := elasticsearch.New(opts...)
	require.NoError(t, err)
	defer client.Close(t.Context())
	found, err := client.Search(client.Search.WithContext(t.Context()))
	if err == nil {
		found.Body.Close()
	}
	return err
}

func TestElasticsPinGoesIntoTheBase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := clients.NewWorld(t, clients.Client{Upstream: http.HandlerFunc(search)})
		wrong := hex.EncodeToString(make([]byte, sha256.Size))
		rt := w.Respawn()
		assert.NoError(t, ask(t, options(rt, w.URL, elasticsearch.WithCertificateFingerprint(wrong))...), "the trap is gone: the pin is not ignored")
		w.End(rt)

		conn, err := w.Network.DialContext(t.Context(), "tcp", "api.test:443")
		require.NoError(t, err)
		handshake := tls.Client(conn, &tls.Config{ServerName: "api.test", RootCAs: w.Network.RootCAs()})
		require.NoError(t, handshake.HandshakeContext(t.Context()))
		sum := sha256.Sum256(handshake.ConnectionState().PeerCertificates[0].Raw)
		require.NoError(t, handshake.Close())

		for fingerprint, right := range map[string]bool{hex.EncodeToString(sum[:]): true, wrong: false} {
			base := w.Transport()
			pin(base, fingerprint)
			pinned, err := respawn.New(base)
			require.NoError(t, err)
			for range 2 { // as generation 1, and as its clone
				assert.Equal(t, right, ask(t, options(pinned, w.URL)...) == nil)
				require.NoError(t, pinned.Recreate(t.Context()))
			}
			w.End(pinned)
		}
	})
}

// A CA goes into the base, too; here the library says so.
func TestElasticsCAGoesIntoTheBase(t *testing.T) {
	rt, err := respawn.New(nil)
	require.NoError(t, err)
	defer rt.Close()
	_, err = elasticsearch.New(options(rt, "https://api.test", elasticsearch.WithCACert([]byte("PEM")))...)
	assert.ErrorContains(t, err, "unable to set CA certificate for transport of type *respawn.RecoveringRoundTripper")
}
