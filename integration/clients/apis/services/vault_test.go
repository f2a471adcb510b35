package services

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"testing"

	vault "github.com/hashicorp/vault/api"
	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/integration/clients"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func Example_vault() {
	server := httptest.NewServer(http.HandlerFunc(secrets)) // in place of Vault
	defer server.Close()

	config := vault.DefaultConfig() // reads VAULT_CACERT and its like into the transport
	if config.Error != nil {
		log.Fatal(config.Error)
	}
	config.Address = server.URL
	rt, err := respawn.New(config.HttpClient.Transport)
	if err != nil {
		log.Fatal(err)
	}
	defer rt.Close()
	config.HttpClient.Transport = rt
	client, err := vault.NewClient(config)
	if err != nil {
		log.Fatal(err)
	}

	secret, err := client.Logical().ReadWithContext(context.Background(), "secret/db")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(secret.Data["password"])
	// Output: hunter2
}

// secrets has one secret and, at secret/raw, something long.
func secrets(w http.ResponseWriter, req *http.Request) {
	if req.URL.Path == "/v1/secret/raw" {
		clients.Pieces(w, "a", "b", "c")
		return
	}
	fmt.Fprint(w, `{"data":{"password":"hunter2"}}`)
}

var sealed = clients.Client{
	Upstream:   http.HandlerFunc(secrets),
	Attempts:   3,
	ClosesIdle: true,
	Base: func(wire *clients.Wire) (*http.Transport, error) {
		config := vault.DefaultConfig()
		transport := config.HttpClient.Transport.(*http.Transport)
		wire.Prepare(transport)
		return transport, config.Error
	},
	Adopt: func(t testing.TB, rt http.RoundTripper, url string) clients.Calls {
		config := vault.DefaultConfig()
		config.Address, config.HttpClient.Transport = url, rt
		client, err := vault.NewClient(config)
		require.NoError(t, err)
		return clients.Calls{
			Call: func(ctx context.Context) error {
				secret, err := client.Logical().ReadWithContext(ctx, "secret/db")
				if err == nil && secret.Data["password"] != "hunter2" {
					err = fmt.Errorf("answered %v", secret.Data)
				}
				return err
			},
			Stream: func(ctx context.Context, piece func(string)) error {
				resp, err := client.Logical().ReadRawWithContext(ctx, "secret/raw")
				if err != nil {
					return err
				}
				defer resp.Body.Close()
				return clients.ReadPieces(resp.Body, piece)
			},
		}
	},
}

func TestVault(t *testing.T) { sealed.Test(t) }

// Vault configures an *http.Transport, and some of its methods panic where there is none:
// what they set goes into the base, before New.
func TestVaultConfiguresOnlyAnHTTPTransport(t *testing.T) {
	config := vault.DefaultConfig()
	rt, err := respawn.New(config.HttpClient.Transport)
	require.NoError(t, err)
	defer rt.Close()
	config.HttpClient.Transport = rt
	assert.ErrorContains(t, config.ConfigureTLS(&vault.TLSConfig{Insecure: true}), "unsupported HTTPClient transport type")
	client, err := vault.NewClient(config)
	require.NoError(t, err)
	assert.Panics(t, func() { client.SetMaxIdleConnections(1) })
	assert.Panics(t, func() { client.SetDisableKeepAlives(true) })
	client.SetOutputCurlString(true)
	assert.Panics(t, func() { _, _ = client.Logical().Read("secret/db") })
}
