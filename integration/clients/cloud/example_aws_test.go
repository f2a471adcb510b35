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

// The base is the SDK's own transport, with its limits and timeouts. Set a custom CA on
// it as well: the SDK sets AWS_CA_BUNDLE on no client but its own.
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
			CheckRedirect: sameMethod,
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

// sameMethod follows the redirects that the SDK's own client follows: those that keep
// the method.
func sameMethod(req *http.Request, _ []*http.Request) error {
	switch req.Response.StatusCode {
	case http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return nil
	}
	return http.ErrUseLastResponse
}
