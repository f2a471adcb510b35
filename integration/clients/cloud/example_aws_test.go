package cloud

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/respawnhttp/respawn"
)

// The base is the SDK's own transport, with its limits and timeouts. Set a custom CA
// on it as well, since the SDK sets AWS_CA_BUNDLE on no client but its own. Redirects
// are left to the SDK, whose signatures are for one host.
func Example_awsSDK() {
	server := httptest.NewServer(store)
	defer server.Close()

	rt, err := respawn.New(awshttp.NewBuildableClient().GetTransport(), respawn.WithName("aws"))
	if err != nil {
		log.Fatal(err)
	}
	defer rt.Close()
	cfg, err := config.LoadDefaultConfig(context.Background(),
		config.WithHTTPClient(&http.Client{
			Transport:     rt,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}),
		config.WithRegion("eu-central-1"),
		config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("id", "secret", "")),
	)
	if err != nil {
		log.Fatal(err)
	}
	client := s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.BaseEndpoint = aws.String(server.URL) // of the example
		o.UsePathStyle = true
		o.DisableLogOutputChecksumValidationSkipped = true
	})

	out, err := client.GetObject(context.Background(), &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String("item")})
	if err != nil {
		log.Fatal(err)
	}
	defer out.Body.Close()
	body, err := io.ReadAll(out.Body)
	fmt.Println(string(body), err)
	// Output: hello <nil>
}
