package main

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// asMain makes the test binary be the program, for tests that need a process
// of their own.
const asMain = "GATEWAY_TEST_AS_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asMain) != "" {
		main()
	}
	os.Exit(m.Run())
}

// takenPort returns an address that somebody else listens on.
func takenPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

// freePort returns an address that nobody listens on, until the test does or its child: the system does not
// give ports of this range to whoever asks for any port.
func freePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(20000+rand.IntN(10000)))
		if err == nil {
			require.NoError(t, l.Close())
			return l.Addr().String()
		}
	}
	require.FailNow(t, "no port is free")
	return ""
}

func TestErrorsAreOneLineAndAStatus(t *testing.T) {
	for name, c := range map[string]struct {
		args   []string
		status int
		says   string
	}{
		"unknown flag":       {[]string{"-nope"}, statusUsage, "-nope"},
		"unknown fault":      {[]string{"-fault", "earthquake"}, statusUsage, "blackhole, closed, tunnel, down"},
		"stray argument":     {[]string{"blackhole"}, statusUsage, `unexpected argument "blackhole"`},
		"no number":          {[]string{"-serve", ":0", "-first-byte", "soon"}, statusUsage, "-first-byte"},
		"no time":            {[]string{"-serve", ":0", "-first-byte", "0s"}, statusUsage, "-first-byte 0s"},
		"serve nowhere":      {[]string{"-serve", ""}, statusUsage, "-serve needs an address"},
		"show flag to serve": {[]string{"-serve", ":0", "-json"}, statusUsage, "-json is for the show"},
		"serve flag to show": {[]string{"-upstream", "http://localhost"}, statusUsage, "-upstream needs -serve"},
		"no URL":             {[]string{"-serve", ":0", "-upstream", "localhost:80"}, statusUsage, "give an http or https URL"},
		"taken port":         {[]string{"-serve", takenPort(t)}, statusFailed, "address already in use"},
		"taken debug port":   {[]string{"-serve", "127.0.0.1:0", "-debug", takenPort(t)}, statusFailed, "choose another address for -debug"},
		"debug flag to show": {[]string{"-debug", ":0"}, statusUsage, "-debug needs -serve"},
		"unwritable picture": {[]string{"-plot", filepath.Join(t.TempDir(), "no", "dir.svg")}, statusFailed, "-plot"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // should it start all the same
			defer cancel()
			var stdout, stderr bytes.Buffer
			require.Equal(t, c.status, run(ctx, c.args, &stdout, &stderr))
			require.Empty(t, stdout.String())
			require.Contains(t, stderr.String(), c.says)
			require.True(t, strings.HasPrefix(stderr.String(), "gateway: "), stderr.String())
			require.Equal(t, 1, strings.Count(stderr.String(), "\n"), stderr.String())
		})
	}
}

func TestAnUnknownExporterIsOneLine(t *testing.T) {
	t.Setenv("OTEL_TRACES_EXPORTER", "carrier-pigeon")
	var stdout, stderr bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	require.Equal(t, statusFailed, run(ctx, []string{"-serve", "127.0.0.1:0"}, &stdout, &stderr))
	require.Contains(t, stderr.String(), "OTEL_TRACES_EXPORTER")
	require.Equal(t, 1, strings.Count(stderr.String(), "\n"), stderr.String())
}

func TestHelpIsNoError(t *testing.T) {
	var stdout, stderr bytes.Buffer
	require.Zero(t, run(t.Context(), []string{"-help"}, &stdout, &stderr))
	require.Contains(t, stdout.String(), "-fault")
	require.Empty(t, stderr.String())
}
