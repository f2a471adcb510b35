// Command faults runs the scenarios of this module, one after the other, and rewrites
// the table of their costs in docs/faults.md, and the few rows of it in the README,
// between two comments that mark them. `make faults` runs it.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/respawnhttp/respawn/integration/internal/figures"
)

// part is what the marks call the table.
const part = "faults"

// inREADME are the scenarios that stand for their kinds.
var inREADME = []string{
	"HTTP/2 connection black-holed, net/http",
	"SSH connection under the dialer closed",
	"http.ClientConn, h2: server hangs up",
	"client certificate rotated, h1",
	"nginx, h1: killed and started again, WithWaitForReady",
	"upstream down 5 s beside a healthy host",
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("faults: ")
	page := flag.String("page", "../docs/faults.md", "the file that has the table")
	readme := flag.String("readme", "../README.md", "the file that has a few rows of it")
	flag.Parse()
	if err := rewrite(*page, *readme); err != nil {
		log.Fatal(err)
	}
}

func rewrite(page, readme string) error {
	var all []figures.Figures
	err := figures.Rewrite(page, part, func() (table string, err error) {
		if all, err = measure(); err != nil {
			return "", err
		}
		with, err := versions()
		return figures.Table(all) + "\n" + with + "\n", err
	})
	if err != nil {
		return err
	}
	return figures.Rewrite(readme, part, func() (string, error) { return few(all) })
}

// few is the README's part of the table.
func few(all []figures.Figures) (string, error) {
	var rows []figures.Figures
	for _, scenario := range inREADME {
		i := slices.IndexFunc(all, func(f figures.Figures) bool { return f.Scenario == scenario })
		if i < 0 {
			return "", fmt.Errorf("there is no scenario %q any more", scenario)
		}
		rows = append(rows, all[i])
	}
	return figures.Short(rows), nil
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
