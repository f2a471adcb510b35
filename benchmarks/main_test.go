package main

import (
	"encoding/xml"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The test's program is its own server, too.
func TestMain(m *testing.M) {
	if os.Getenv(serverEnv) != "" {
		if err := serve(os.Stdin, os.Stdout); err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// Every workload, short, through to the page on disk.
func TestEverything(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	raw := filepath.Join(dir, "bench.out")
	require.NoError(t, run(rand.New(rand.NewPCG(1, 2)), quick(), exec.Command(os.Args[0], "-test.run="+fleetTest), dir, raw))

	data, err := os.ReadFile(filepath.Join(dir, "benchmarks.md"))
	require.NoError(t, err)
	page := string(data)
	for _, row := range withPort(withAA(newPeers(testObserver(t)))) {
		assert.Contains(t, page, "| "+strong(row.name)+" |")
	}
	for _, c := range patientCases() {
		assert.Contains(t, page, "| "+c.method+", "+c.caller+" |")
	}
	for _, budget := range []string{"stub, POST, serial", "POST, loopback, h1, serial", "POST, loopback, h2, 8 goroutines"} {
		assert.Contains(t, page, "| "+budget+" |")
	}
	assert.NotContains(t, page, "NaN")
	assert.NotContains(t, page, "%!", "a format that does not fit")
	for _, name := range []string{"stub", "loopback", "unpooled", "recovery", "growth", "fleet"} {
		assert.Contains(t, page, "(benchmarks/"+name+".svg)")
		picture, err := os.ReadFile(filepath.Join(dir, picturesDir, name+".svg"))
		require.NoError(t, err)
		assertDrawn(t, string(picture))
	}

	samples, err := os.ReadFile(raw)
	require.NoError(t, err)
	rows := len(withAA(newPeers(testObserver(t))))
	loopbacks := 2 * len(loopbackGoroutines())
	posts := len(onceRows(newPeers(testObserver(t)))) * loopbacks
	const patientRows = 5
	perRound := rows*(len(stubCases())+loopbacks) + posts + patientRows*len(patientCases())
	assert.Equal(t, quick().rounds*perRound, strings.Count(string(samples), "\n"))
}

func TestTooFewRoundsForAnIntervalAreRefused(t *testing.T) {
	few := quick()
	few.rounds--
	err := run(rand.New(rand.NewPCG(1, 2)), few, nil, t.TempDir(), os.DevNull)
	assert.EqualError(t, err, "-rounds is 5; take at least 6, since fewer samples have no 95 % interval")
}

// assertDrawn checks that a picture is well-formed and has no place without a
// number.
func assertDrawn(t *testing.T, picture string) {
	t.Helper()
	for d := xml.NewDecoder(strings.NewReader(picture)); ; {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
	}
	assert.NotContains(t, picture, "NaN")
	assert.NotContains(t, picture, "Inf")
}
