package cloud

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/integration/clients"
)

// awsBase is what the SDK would use by itself.
func awsBase(wire *clients.Wire) (*http.Transport, error) {
	t := awshttp.NewBuildableClient().GetTransport()
	wire.Prepare(t)
	return t, nil
}

// awsHTTP is the HTTP client that the SDK is given. It follows redirects as the SDK's own
// does.
func awsHTTP(rt http.RoundTripper) *http.Client {
	return &http.Client{Transport: rt, CheckRedirect: sameMethod}
}

func awsConfig(client aws.HTTPClient, url string) aws.Config {
	return aws.Config{
		Region:       "eu-central-1",
		Credentials:  credentials.NewStaticCredentialsProvider("id", "secret", ""),
		HTTPClient:   client,
		BaseEndpoint: aws.String(url),
	}
}

func newS3(client aws.HTTPClient, url string) *s3.Client {
	return s3.NewFromConfig(awsConfig(client, url), func(o *s3.Options) {
		o.UsePathStyle = true
		o.DisableLogOutputChecksumValidationSkipped = true
	})
}

var store = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
	switch {
	case req.Method == http.MethodPut:
		_, _ = io.Copy(io.Discard, req.Body)
	case strings.HasSuffix(req.URL.Path, "/stream"):
		w.Header().Set("Last-Modified", "Fri, 31 Dec 1999 23:59:59 GMT")
		w.Header().Set("Content-Length", "3")
		clients.Pieces(w, "a", "b", "c")
	default:
		w.Header().Set("Last-Modified", "Fri, 31 Dec 1999 23:59:59 GMT")
		_, _ = io.WriteString(w, "hello")
	}
})

func TestAWSS3(t *testing.T) {
	clients.Client{
		Upstream: store,
		Base:     awsBase,
		Attempts: 3,
		Adopt: func(_ testing.TB, rt http.RoundTripper, url string) clients.Calls {
			client := newS3(awsHTTP(rt), url)
			get := func(ctx context.Context, key string, read func(io.Reader) error) error {
				out, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String(key)})
				if err != nil {
					return err
				}
				defer out.Body.Close()
				return read(out.Body)
			}
			return clients.Calls{
				Call: func(ctx context.Context) error { return get(ctx, "item", wantHello) },
				Stream: func(ctx context.Context, piece func(string)) error {
					return get(ctx, "stream", func(r io.Reader) error { return clients.ReadPieces(r, piece) })
				},
			}
		},
	}.Test(t)
}

// wantHello reads an item.
func wantHello(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err == nil && string(b) != "hello" {
		err = fmt.Errorf("answered %q", b)
	}
	return err
}

// All calls of STS, as of DynamoDB and most others, are POSTs, which respawn sends again
// only if they were not sent. The SDK does the rest.
func TestAWSSTS(t *testing.T) {
	clients.Client{
		Upstream: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req.Method != http.MethodPost {
				http.Error(w, "POST expected", http.StatusMethodNotAllowed)
				return
			}
			w.Header().Set("Content-Type", "text/xml")
			fmt.Fprint(w, `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult><Account>42</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`)
		}),
		Base:     awsBase,
		Attempts: 3,
		Adopt: func(_ testing.TB, rt http.RoundTripper, url string) clients.Calls {
			client := sts.NewFromConfig(awsConfig(awsHTTP(rt), url))
			return clients.Calls{Call: func(ctx context.Context) error {
				out, err := client.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
				if err == nil && aws.ToString(out.Account) != "42" {
					err = fmt.Errorf("answered %q", aws.ToString(out.Account))
				}
				return err
			}}
		},
	}.Test(t)
}

// The SDK's own client follows only redirects that keep the method, 307 and 308, and
// leaves the others to the SDK. A plain http.Client follows all of them.
func TestAWSRedirectsAreFollowedAsByTheSDKsOwnClient(t *testing.T) {
	followed := func(t *testing.T, code int, adopt func(*clients.World) aws.HTTPClient) (yes bool) {
		synctest.Test(t, func(t *testing.T) {
			var elsewhere atomic.Bool
			w := clients.NewWorld(t, clients.Client{Base: awsBase, Upstream: http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
				if strings.HasPrefix(req.URL.Path, "/elsewhere") {
					elsewhere.Store(true)
					return
				}
				http.Redirect(rw, req, "/elsewhere", code)
			})})
			_, err := newS3(adopt(w), w.URL).GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String("key")})
			assert.Equal(t, elsewhere.Load(), err == nil)
			yes = elsewhere.Load()
		})
		return yes
	}
	for code, want := range map[int]bool{http.StatusMovedPermanently: false, http.StatusTemporaryRedirect: true} {
		assert.Equal(t, want, followed(t, code, func(w *clients.World) aws.HTTPClient {
			wired := w.Transport()
			return awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
				t.DialContext, t.TLSClientConfig, t.DisableKeepAlives = wired.DialContext, wired.TLSClientConfig, true
			})
		}), "%d, the SDK's own", code)
		assert.Equal(t, want, followed(t, code, func(w *clients.World) aws.HTTPClient { return awsHTTP(w.Respawn()) }), "%d", code)
		assert.True(t, followed(t, code, func(w *clients.World) aws.HTTPClient { return &http.Client{Transport: w.Respawn()} }), "%d, a plain client", code)
	}
}

// The SDK cannot configure an http.Client that it is given, so that a custom CA
// (AWS_CA_BUNDLE) is an error: the CA belongs on the base.
func TestAWSCustomCAWantsTheSDKsOwnClient(t *testing.T) {
	rt, err := respawn.New(awshttp.NewBuildableClient().GetTransport())
	require.NoError(t, err)
	defer rt.Close()
	server := httptest.NewTLSServer(store)
	defer server.Close()
	bundle := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	load := func(client aws.HTTPClient) error {
		_, err := config.LoadDefaultConfig(t.Context(), config.WithHTTPClient(client), config.WithCustomCABundle(strings.NewReader(string(bundle))))
		return err
	}
	assert.NoError(t, load(awshttp.NewBuildableClient()))
	assert.ErrorContains(t, load(awsHTTP(rt)), "WithTransportOptions")

	base := awshttp.NewBuildableClient().GetTransport()
	base.TLSClientConfig.RootCAs = x509.NewCertPool()
	require.True(t, base.TLSClientConfig.RootCAs.AppendCertsFromPEM(bundle))
	trusting, err := respawn.New(base)
	require.NoError(t, err)
	defer trusting.Close()
	out, err := newS3(awsHTTP(trusting), server.URL).GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String("item")})
	require.NoError(t, err)
	defer out.Body.Close()
	assert.NoError(t, wantHello(out.Body))
}

// A BuildableClient has room for an *http.Transport only, and each of its options makes
// another one, so it cannot have respawn in it.
func TestAWSBuildableClientMakesTransportsOfItsOwn(t *testing.T) {
	first := awshttp.NewBuildableClient()
	var seen []*http.Transport
	second := first.WithTransportOptions(func(t *http.Transport) { seen = append(seen, t) })
	third := second.WithTransportOptions(func(t *http.Transport) { seen = append(seen, t) })
	require.Len(t, seen, 2)
	assert.NotSame(t, seen[0], seen[1])
	assert.NotSame(t, seen[1], third.GetTransport())
}

// An upload that broke is sent again by the SDK, not by respawn: a PUT is not repeatable.
func TestAWSSendsABrokenUploadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		puts := 0
		w := clients.NewWorld(t, clients.Client{Base: awsBase, Upstream: http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
			_, _ = io.Copy(io.Discard, req.Body)
			if puts++; puts == 1 {
				panic(http.ErrAbortHandler)
			}
		})})
		rt := w.Respawn()
		_, err := newS3(awsHTTP(rt), w.URL).PutObject(t.Context(), &s3.PutObjectInput{
			Bucket: aws.String("bucket"), Key: aws.String("key"), Body: strings.NewReader("hello"),
		})
		require.NoError(t, err)
		assert.Equal(t, 2, puts)
		assert.Zero(t, rt.Health().Replays)
		w.End(rt)
	})
}
