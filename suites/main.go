// Suites runs the public test suites of others with respawn between client and
// transport, and compares what passes with what passes without it. Nothing of
// theirs is kept here: their files are read from where Go keeps them, and one
// test file is laid over them.
//
//	go run . > ../docs/trust-suites.part.md
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
	dir, err := output("go", "list", "-f", "{{.Dir}}", s.pkg)
	if err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp("", "suites")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	args := []string{"test", "-json", "-short", "-vet=off", "-count=1"}
	replace := map[string]string{}
	lay := func(name, text string) error {
		file := filepath.Join(tmp, name)
		replace[filepath.Join(dir, name)] = file
		return os.WriteFile(file, []byte(text), 0o600)
	}
	if s.file == "" {
		// A module's, of which a copy is tested: nothing can be laid over what
		// is in Go's cache.
		modfile, copied, err := copyModule(s.pkg, tmp)
		if err != nil {
			return nil, err
		}
		args = append(args, "-modfile", modfile)
		lay = func(name, text string) error { return os.WriteFile(filepath.Join(copied, name), []byte(text), 0o600) }
	}
	text := strings.ReplaceAll(added, "PACKAGE", s.name)
	if s.file == "" {
		text += "\nfunc init() {\n\tif rt := respawned(http.DefaultTransport.(*http.Transport)); rt != nil {\n\t\thttp.DefaultTransport = rt\n\t}\n}\n"
	} else {
		theirs, err := os.ReadFile(filepath.Join(dir, s.file))
		if err != nil {
			return nil, err
		}
		if strings.Count(string(theirs), s.before) != 1 {
			return nil, fmt.Errorf("%s has changed: look for where client and transport meet", s.file)
		}
		patched := strings.Replace(string(theirs), s.before, s.insert+s.before, 1)
		if err := lay(s.file, cast.ReplaceAllString(patched, "bareOf($1)")); err != nil {
			return nil, err
		}
	}
	if s.casts {
		files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			theirs, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			if name := filepath.Base(file); name != s.file && cast.Match(theirs) && bytes.Contains(theirs, []byte("\npackage "+s.name+"\n")) {
				if err := lay(name, string(cast.ReplaceAll(theirs, []byte("bareOf($1)")))); err != nil {
					return nil, err
				}
			}
		}
	}
	if err := lay("respawned_test.go", text); err != nil {
		return nil, err
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return nil, err
	}
	list := filepath.Join(tmp, "overlay.json")
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		return nil, err
	}
	goTest := func(more ...string) (map[string]string, error) {
		cmd := exec.Command("go", slices.Concat(args, more, []string{"-overlay", list, s.pkg})...)
		cmd.Env = append(os.Environ(), "RESPAWN="+mode)
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

// copyModule copies the module of pkg, and returns a go.mod that uses the copy,
// and where pkg is in it.
func copyModule(pkg, tmp string) (modfile, copied string, err error) {
	where, err := output("go", "list", "-f", "{{.Module.Path}} {{.Module.Dir}} {{.Dir}}", pkg)
	if err != nil {
		return "", "", err
	}
	fields := strings.Fields(where)
	path, root, dir := fields[0], fields[1], fields[2]
	module := filepath.Join(tmp, "module")
	if _, err := output("cp", "-r", "--no-preserve=mode", root, module); err != nil {
		return "", "", err
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(name)
		if err != nil {
			return "", "", err
		}
		if err := os.WriteFile(filepath.Join(tmp, name), text, 0o600); err != nil {
			return "", "", err
		}
	}
	here, err := filepath.Abs("..")
	if err != nil {
		return "", "", err
	}
	modfile = filepath.Join(tmp, "go.mod")
	_, err = output("go", "mod", "edit", "-replace", path+"="+module, "-replace", "github.com/respawnhttp/respawn="+here, modfile)
	return modfile, filepath.Join(module, strings.TrimPrefix(dir, root)), err
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
