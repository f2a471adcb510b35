package cloud

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"net/url"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/respawnhttp/respawn"
)

// The base is minio-go's own transport, which leaves compressed objects compressed.
func Example_minio() {
	server := httptest.NewServer(store)
	defer server.Close()
	endpoint, err := url.Parse(server.URL)
	if err != nil {
		log.Fatal(err)
	}
	secure := endpoint.Scheme == "https"

	base, err := minio.DefaultTransport(secure)
	if err != nil {
		log.Fatal(err)
	}
	rt, err := respawn.New(base, respawn.WithName("minio"))
	if err != nil {
		log.Fatal(err)
	}
	defer rt.Close()
	client, err := minio.New(endpoint.Host, &minio.Options{
		Creds:     credentials.NewStaticV4("id", "secret", ""),
		Region:    "eu-central-1",
		Secure:    secure,
		Transport: rt,
	})
	if err != nil {
		log.Fatal(err)
	}

	object, err := client.GetObject(context.Background(), "bucket", "item", minio.GetObjectOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer object.Close()
	body, err := io.ReadAll(object)
	fmt.Println(string(body), err)
	// Output: hello <nil>
}
