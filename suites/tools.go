package main

// What is laid over the suites needs respawn, and the suites are modules.
import (
	_ "go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	_ "golang.org/x/oauth2"

	_ "github.com/respawnhttp/respawn"
)
