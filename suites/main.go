// Suites runs other projects' public test suites with respawn between client and
// transport, and compares the tests that pass with those that pass without it. Their
// tests are not kept here: Suites tests a copy of what Go has, with one test file
// added.
//
//	go run .
package main

import (
	"bufio"
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// A suite is one package's tests.
type suite struct {
	pkg     string            // import path
	name    string            // of the package that the added file belongs to
	file    string            // of theirs, in which client and transport meet; "" if they use http.DefaultTransport
	before  string            // where in that file
	insert  string            // and what
	casts   bool              // they take their client's Transport for what it was
	differs map[string]string // the tests that are known to tell, and why
	hangs   []string          // those of them that would take the others with them, to be run alone
}

var suites = []suite{
	{
		pkg: "net/http", name: "http_test", file: "clientserver_test.go",
		before: "\tt.Cleanup(func() {\n\t\tcst.close()\n\t})\n\treturn cst\n",
		insert: "\tif rt := respawned(cst.tr); rt != nil {\n\t\tcst.c.Transport = rt\n\t\tt.Cleanup(func() { rt.Close() })\n\t}\n",
		casts:  true, differs: netHTTP, hangs: netHTTPHangs,
	},
	{pkg: "golang.org/x/oauth2", name: "oauth2"},
	{pkg: "go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp", name: "otelhttp", differs: otelHTTP},
}

// A client's Transport that is taken for what it was.
var cast = regexp.MustCompile(`(\w+(?:\.\w+(?:\(\))?)*\.Transport)\.\(\*Transport\)`)

//go:embed added.go.txt
var added string

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	fmt.Println("| suite | tests | pass bare | `ReplayNever` | default | differ |\n| --- | --- | --- | --- | --- | --- |")
	var explained, unexplained []string
	for _, s := range suites {
		bare, err := s.test("bare")
		if err != nil {
			return err
		}
		counts := []string{fmt.Sprint(len(bare)), fmt.Sprint(passed(bare))}
		differ := map[string]bool{}
		for _, mode := range []string{"never", "default"} {
			got, err := s.test(mode)
			if err != nil {
				return err
			}
			counts = append(counts, fmt.Sprint(passed(got)))
			for name, result := range bare {
				if result == "pass" && got[name] != "pass" {
					differ[name] = true
				}
			}
		}
		for _, name := range slices.Sorted(maps.Keys(differ)) {
			top, _, _ := strings.Cut(name, "/")
			if why := s.differs[top]; why == "" {
				unexplained = append(unexplained, s.pkg+" "+name)
			} else if line := fmt.Sprintf("- `%s` %s", top, why); !slices.Contains(explained, line) {
				explained = append(explained, line)
			}
		}
		fmt.Printf("| `%s` %s | %s | %d |\n", s.pkg, version(s.pkg), strings.Join(counts, " | "), len(differ))
	}
	fmt.Printf("\n%s\n", strings.Join(explained, "\n"))
	if len(unexplained) > 0 {
		slices.Sort(unexplained)
		return errors.New("pass only without respawn, and nobody knows why:\n" + strings.Join(unexplained, "\n"))
	}
	return nil
}

// test runs the suite and returns what became of each test that has no tests
// of its own below it.
func (s suite) test(mode string) (map[string]string, error) {
	tmp, err := os.MkdirTemp("", "suites")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	copyTo := copyModule
	if s.file != "" {
		copyTo = copyStandard
	}
	theirs, err := copyTo(s.pkg, tmp)
	if err != nil {
		return nil, err
	}
	if err := s.putRespawnIn(theirs.dir); err != nil {
		return nil, err
	}
	goTest := func(more ...string) (map[string]string, error) {
		args := []string{"test", "-json", "-short", "-vet=off", "-count=1"}
		cmd := exec.Command(theirs.command, slices.Concat(args, theirs.args, more, []string{s.pkg})...)
		cmd.Env = slices.Concat(os.Environ(), theirs.env, []string{"RESPAWN=" + mode})
		cmd.Stderr = os.Stderr
		out, err := cmd.Output() // fails as soon as one test does
		if len(out) == 0 {
			return nil, err
		}
		return results(out)
	}
	found, err := goTest("-timeout=3m", "-skip", pattern(s.hangs...))
	for _, name := range s.hangs {
		if err != nil {
			return nil, err
		}
		var alone map[string]string
		alone, err = goTest("-timeout=10s", "-run", pattern(name))
		top, _, _ := strings.Cut(name, "/")
		delete(found, top) // without what was skipped it may seem to have no tests below
		maps.Copy(found, alone)
	}
	return found, err
}

// pattern matches the tests of these names and no others.
func pattern(names ...string) string {
	var each []string
	for _, name := range names {
		each = append(each, "^"+strings.ReplaceAll(name, "/", "$/^")+"$")
	}
	return strings.Join(each, "|")
}

// putRespawnIn changes the copy of the suite in dir.
func (s suite) putRespawnIn(dir string) error {
	text := strings.ReplaceAll(added, "PACKAGE", s.name)
	if s.file == "" {
		text += "\nfunc init() {\n\tif rt := respawned(http.DefaultTransport.(*http.Transport)); rt != nil {\n\t\thttp.DefaultTransport = rt\n\t}\n}\n"
	} else if err := s.meet(dir); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "respawned_test.go"), []byte(text), 0o600)
}

// meet inserts respawn where client and transport meet, and whatever looks for the
// transport behind it.
func (s suite) meet(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		return err
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		theirs, met := string(b), filepath.Base(file) == s.file
		if met {
			if strings.Count(theirs, s.before) != 1 {
				return fmt.Errorf("%s has changed: look for where client and transport meet", s.file)
			}
			theirs = strings.Replace(theirs, s.before, s.insert+s.before, 1)
		}
		if met || s.casts && strings.Contains(theirs, "\npackage "+s.name+"\n") {
			theirs = cast.ReplaceAllString(theirs, "bareOf($1)")
		}
		if err := os.WriteFile(file, []byte(theirs), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func results(out []byte) (map[string]string, error) {
	found, parents := map[string]string{}, map[string]bool{}
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var event struct{ Action, Test, Output string }
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			return nil, err
		}
		switch {
		case event.Test == "":
		case event.Action == "run":
			found[event.Test] = "unfinished" // unless it says otherwise
			if i := strings.LastIndexByte(event.Test, '/'); i >= 0 {
				parents[event.Test[:i]] = true
			}
		case event.Action == "pass", event.Action == "fail", event.Action == "skip":
			found[event.Test] = event.Action
		}
	}
	for parent := range parents {
		delete(found, parent)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no test was run:\n%s", out)
	}
	return found, lines.Err()
}

func passed(results map[string]string) (n int) {
	for _, result := range results {
		if result == "pass" {
			n++
		}
	}
	return n
}

func version(pkg string) string {
	v, err := output("go", "list", "-f", "{{if .Module}}{{.Module.Version}}{{end}}", pkg)
	if err != nil || v == "" {
		v, _ = output("go", "env", "GOVERSION")
	}
	return v
}

func output(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).Output()
	return strings.TrimSpace(string(out)), err
}
