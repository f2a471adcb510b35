package services

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/google/go-github/v74/github"
	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/integration/clients"
)

func Example_goGithub() {
	server := httptest.NewServer(http.HandlerFunc(gitHub)) // in place of api.github.com
	defer server.Close()

	rt, err := respawn.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer rt.Close()
	client := github.NewClient(&http.Client{Transport: rt}).WithAuthToken("token")
	client.BaseURL, _ = url.Parse(server.URL + "/")

	repo, _, err := client.Repositories.Get(context.Background(), "owner", "name")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(repo.GetFullName())
	// Output: owner/name
}

// gitHub has one repository and, below /archive, something long to download.
func gitHub(w http.ResponseWriter, req *http.Request) {
	switch {
	case req.Header.Get("Authorization") != "Bearer token":
		http.Error(w, `{"message":"Requires authentication"}`, http.StatusUnauthorized)
	case req.URL.Path == "/archive":
		clients.Pieces(w, "a", "b", "c")
	default:
		fmt.Fprint(w, `{"full_name":"owner/name"}`)
	}
}

func TestGoGithub(t *testing.T) {
	clients.Client{
		Upstream: http.HandlerFunc(gitHub),
		Adopt: func(t testing.TB, rt http.RoundTripper, base string) clients.Calls {
			client := github.NewClient(&http.Client{Transport: rt}).WithAuthToken("token")
			client.BaseURL, _ = url.Parse(base + "/")
			return clients.Calls{
				Call: func(ctx context.Context) error {
					repo, _, err := client.Repositories.Get(ctx, "owner", "name")
					if err == nil && repo.GetFullName() != "owner/name" {
						err = fmt.Errorf("answered %v", repo)
					}
					return err
				},
				Stream: func(ctx context.Context, piece func(string)) error {
					req, err := client.NewRequest(http.MethodGet, "archive", nil)
					if err != nil {
						return err
					}
					_, err = client.Do(ctx, req, writer(piece))
					return err
				},
			}
		},
	}.Test(t)
}

type writer func(string)

func (w writer) Write(b []byte) (int, error) {
	w(string(b))
	return len(b), nil
}
