// Command faults runs the scenarios of this module, one after the other, and
// rewrites the table of what they have cost in the README, between two comments
// that mark it. It is `make faults`.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/respawnhttp/respawn/integration/internal/figures"
)

const (
	begin = "<!-- faults:begin -->\n"
	end   = "<!-- faults:end -->"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("faults: ")
	readme := flag.String("readme", "../README.md", "the file that has the table")
	flag.Parse()
	if err := rewrite(*readme); err != nil {
		log.Fatal(err)
	}
}

func rewrite(readme string) error {
	text, err := os.ReadFile(readme)
	if err != nil {
		return err
	}
	if _, err := replace(text, ""); err != nil { // before ten minutes are spent
		return fmt.Errorf("%s: %w", readme, err)
	}
	all, err := measure()
	if err != nil {
		return err
	}
	with, err := versions()
	if err != nil {
		return err
	}
	text, err = replace(text, figures.Table(all)+"\n"+with+"\n")
	if err != nil {
		return err
	}
	return os.WriteFile(readme, text, 0o644)
}

// measure runs the tests, which show what they do meanwhile.
func measure() ([]figures.Figures, error) {
	dir, err := os.MkdirTemp("", "faults")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "figures.json")
	tests := exec.Command("go", "test", "-count=1", "-timeout=30m", "-v", ".")
	tests.Env = append(os.Environ(), figures.Env+"="+file)
	tests.Stdout, tests.Stderr = os.Stdout, os.Stderr
	if err := tests.Run(); err != nil {
		return nil, err
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return figures.Read(f)
}

// replace puts table between the marks.
func replace(text []byte, table string) ([]byte, error) {
	head, rest, found := bytes.Cut(text, []byte(begin))
	_, tail, closed := bytes.Cut(rest, []byte(end))
	if !found || !closed {
		return nil, errors.New("the marks " + strings.TrimSpace(begin) + " and " + end + " are missing")
	}
	return bytes.Join([][]byte{head, []byte(begin), []byte(table), []byte(end), tail}, nil), nil
}

// versions says what the figures were seen with.
func versions() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Path}} {{.Version}}", "golang.org/x/net", "golang.org/x/crypto",
		"github.com/quic-go/quic-go", "github.com/hashicorp/yamux").Output()
	if err != nil {
		return "", fmt.Errorf("go list -m: %w", err)
	}
	with := strings.Split(strings.TrimSpace(string(out)), "\n")
	with = append(with, nginx())
	goVersion := strings.Replace(runtime.Version(), "go", "Go ", 1)
	return fmt.Sprintf("Seen with %s, %s; %d cores, %s/%s.", goVersion, strings.Join(with, ", "),
		runtime.NumCPU(), runtime.GOOS, runtime.GOARCH), nil
}

// nginx prints its version on stderr: "nginx version: nginx/1.22.1".
func nginx() string {
	for _, name := range []string{"nginx", "/usr/sbin/nginx", "/usr/local/sbin/nginx"} {
		if out, err := exec.Command(name, "-v").CombinedOutput(); err == nil {
			_, version, _ := strings.Cut(strings.TrimSpace(string(out)), "/")
			return "nginx " + version
		}
	}
	return "no nginx"
}
