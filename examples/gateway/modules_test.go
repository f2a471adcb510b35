package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whoever starts the show for the first time waits for what it is built of.
func TestTheFirstStartNeedsFewModules(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{with .Module}}{{if .Version}}{{.Path}}{{end}}{{end}}", ".").Output()
	require.NoError(t, err)
	modules := strings.Fields(string(out))
	slices.Sort(modules)
	modules = slices.DeleteFunc(slices.Compact(modules), func(path string) bool { return path == "github.com/respawnhttp/respawn" })
	require.NotEmpty(t, modules)
	require.LessOrEqual(t, len(modules), 25, modules)
	require.NotContains(t, modules, "google.golang.org/grpc")
}
