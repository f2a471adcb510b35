package gateway

import (
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The image's build has what the ignore file lets through, and no more: that is enough.
func TestTheImagesContextIsEnough(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(gatewayDir, "Dockerfile.dockerignore"))
	require.NoError(t, err)
	var rules []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			rules = append(rules, line)
		}
	}
	root, context := filepath.Join("..", ".."), t.TempDir()
	sent := 0
	require.NoError(t, filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		switch {
		case err != nil:
			return err
		case d.IsDir() && (rel == ".git" || rel == ".bin"):
			return filepath.SkipDir
		case d.IsDir() || ignored(t, rules, filepath.ToSlash(rel)):
			return nil
		}
		sent++
		content, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		to := filepath.Join(context, rel)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		return os.WriteFile(to, content, 0o644)
	}))
	require.NotZero(t, sent)
	for _, name := range []string{"test", "docs", "integration", ".git", "api_test.go"} {
		assert.NoFileExists(t, filepath.Join(context, name))
		assert.NoDirExists(t, filepath.Join(context, name))
	}
	dockerfile, err := os.ReadFile(filepath.Join(gatewayDir, "Dockerfile"))
	require.NoError(t, err)
	build := exec.Command("sh", "-c", strings.Replace(instructions(string(dockerfile))["RUN"], "-o /gateway", "-o "+filepath.Join(t.TempDir(), "gateway"), 1))
	build.Dir = context
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// ignored reports whether an ignore file keeps a path out of the build: the last rule
// that matches the path, or a folder that it is in, decides.
func ignored(t *testing.T, rules []string, name string) (out bool) {
	t.Helper()
	for _, rule := range rules {
		pattern, keep := strings.CutPrefix(rule, "!")
		deep, anywhere := strings.CutPrefix(pattern, "**/")
		for part := name; part != "."; part = path.Dir(part) {
			matched, err := path.Match(pattern, part)
			if anywhere {
				matched, err = path.Match(deep, path.Base(part))
			}
			require.NoError(t, err, rule)
			if matched {
				out = !keep
			}
		}
	}
	return out
}

// The image is built with the Go that the gateway asks for.
func TestTheImagesGoIsTheModules(t *testing.T) {
	module, err := os.ReadFile(filepath.Join(gatewayDir, "go.mod"))
	require.NoError(t, err)
	asked := regexp.MustCompile(`(?m)^go ([0-9]+\.[0-9]+)`).FindSubmatch(module)
	require.NotNil(t, asked)
	dockerfile, err := os.ReadFile(filepath.Join(gatewayDir, "Dockerfile"))
	require.NoError(t, err)
	assert.Contains(t, string(dockerfile), "FROM golang:"+string(asked[1])+" AS build\n")
}

// What the files tell their reader to build is what the manifest pulls.
func TestTheImagesNameIsTheManifests(t *testing.T) {
	m, _ := readManifest(t)
	image := m.deployment.Spec.Template.Spec.Containers[0].Image
	for _, name := range []string{"Dockerfile", "kustomization.yaml"} {
		text, err := os.ReadFile(filepath.Join(gatewayDir, name))
		require.NoError(t, err)
		assert.Contains(t, string(text), "docker build -f examples/gateway/Dockerfile -t "+image+" .", name)
	}
}
