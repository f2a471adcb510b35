package integration

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/respawnhttp/respawn"
)

// A client's certificate is rotated: the server takes only the new one from
// now on, and closes what the old one had opened. The transport shows the old
// one for ever, and gets a TLS alert each time. The factory reads the new one.
func TestClientCertificateRotated(t *testing.T) {
	for _, protocol := range sorted(protocols) {
		t.Run(protocol, func(t *testing.T) {
			rotateCertificate(t, protocol, protocols[protocol])
		})
	}
}

func rotateCertificate(t *testing.T, protocol string, choose func(*http.Protocols)) {
	const secret = "secret-of-the-caller"
	r := begin(t, "client certificate rotated, "+protocol)
	s := newServer(r)
	ca := newAuthority(t)
	current := []tls.Certificate{ca.issue("client-before"), ca.issue("client-after")}
	var rotation atomic.Int32 // which of them counts
	config := ca.server()
	config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, ca.pool
	config.VerifyPeerCertificate = func(raw [][]byte, _ [][]*x509.Certificate) error {
		if !bytes.Equal(raw[0], current[rotation.Load()].Certificate[0]) {
			return errors.New("certificate revoked")
		}
		return nil
	}
	url := "https://" + s.serveTLS(t, config) + "/" + secret + "?token=" + secret
	w := &world{r: r, server: s, url: url, build: factory(func(context.Context) (*http.Transport, error) {
		config := ca.client()
		config.Certificates = []tls.Certificate{current[rotation.Load()]}
		tr := &http.Transport{TLSClientConfig: config, Protocols: new(http.Protocols)}
		choose(tr.Protocols)
		return tr, nil
	})}

	var logs bytes.Buffer
	spans := tracetest.NewSpanRecorder()
	bare := client{RoundTripper: w.first(t), url: url, deadline: patience}
	require.NoError(t, bare.get())
	rt := w.start(t,
		respawn.WithLogger(slog.New(slog.NewJSONHandler(&logs, nil))),
		respawn.WithTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))))
	authorized := func() error {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		require.NoError(t, err)
		req.Header.Set("Authorization", "Bearer "+secret)
		return do(rt, req)
	}
	require.NoError(t, authorized())

	rotation.Store(1)
	s.hangUp()
	r.keepsFailing(bare, 300*time.Millisecond)
	curable := time.Now()
	l := run(t, 1, authorized)
	l.awaitSuccesses(50, curable)

	r.take(curable, rt, l)
	require.NoError(t, l.outcomes[0].err, "the first GET after the rotation")
	r.healed()

	// What was logged and traced names the host and the kind of the failure,
	// and nothing that is the caller's or the certificates'.
	require.Len(t, spans.Ended(), 1)
	traced, err := json.Marshal(tracetest.SpanStubsFromReadOnlySpans(spans.Ended()))
	require.NoError(t, err)
	told := string(traced) + logs.String()
	// The server's alert can be lost to the reset that follows it: what the
	// client sent with its certificate was never read.
	require.Regexp(t, "tls_error|connection_reset|connection_closed", string(traced))
	require.Contains(t, logs.String(), "respawn: recovered")
	for _, cert := range current {
		require.NotContains(t, told, cert.Leaf.Subject.CommonName)
		require.NotContains(t, told, hex.EncodeToString(cert.Certificate[0][:16]))
		require.NotContains(t, told, base64.StdEncoding.EncodeToString(cert.Certificate[0])[:24])
	}
	for _, private := range []string{secret, "Bearer", "token", "revoked", "BEGIN"} {
		require.NotContains(t, told, private)
	}
}
