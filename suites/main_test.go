package main

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestResults(t *testing.T) {
	found, err := results([]byte(strings.Join([]string{
		`{"Action":"start"}`,
		`{"Action":"run","Test":"TestA"}`,
		`{"Action":"run","Test":"TestA/h1"}`,
		`{"Action":"output","Test":"TestA/h1","Output":"pass"}`,
		`{"Action":"pass","Test":"TestA/h1"}`,
		`{"Action":"run","Test":"TestA/h2"}`,
		`{"Action":"fail","Test":"TestA/h2"}`,
		`{"Action":"fail","Test":"TestA"}`,
		`{"Action":"run","Test":"TestB"}`,
		`{"Action":"skip","Test":"TestB"}`,
		`{"Action":"run","Test":"TestHangs"}`,
		`{"Action":"fail"}`,
	}, "\n")))
	want := map[string]string{"TestA/h1": "pass", "TestA/h2": "fail", "TestB": "skip", "TestHangs": "unfinished"}
	if err != nil || !maps.Equal(found, want) || passed(found) != 1 {
		t.Errorf("got %v, %v, want %v", found, err, want)
	}
	for _, bad := range []string{"", `{"Action":"start"}`, "FAIL [build failed]"} {
		if found, err := results([]byte(bad)); err == nil {
			t.Errorf("%q is %v, and no error", bad, found)
		}
	}
}

// A test that is renamed or gone would excuse one of that name for ever.
func TestDiffersAreExplained(t *testing.T) {
	for _, s := range suites {
		for name, why := range s.differs {
			if why == "" {
				t.Errorf("%s: no reason for %s", s.pkg, name)
			}
			dir, err := output("go", "list", "-f", "{{.Dir}}", s.pkg)
			if err != nil {
				t.Fatal(err)
			}
			if err := exec.Command("grep", "-rqw", "--include=*_test.go", "func "+name, dir).Run(); err != nil {
				t.Errorf("%s has no %s any more", s.pkg, name)
			}
		}
		for _, name := range s.hangs {
			if top, _, _ := strings.Cut(name, "/"); s.differs[top] == "" {
				t.Errorf("%s: no reason why %s hangs", s.pkg, name)
			}
		}
	}
}

// What is tested is the copy, and Go's own stays as it is.
func TestCopiesAreWhatGoTests(t *testing.T) {
	for _, s := range suites {
		copyTo := copyModule
		if s.file != "" {
			copyTo = copyStandard
		}
		theirs, err := copyTo(s.pkg, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		original, err := output("go", "list", "-f", "{{.Dir}}", s.pkg)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.putRespawnIn(theirs.dir); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(theirs.command, slices.Concat([]string{"list"}, theirs.args, []string{"-f", "{{.Dir}}", s.pkg})...)
		cmd.Env = slices.Concat(os.Environ(), theirs.env)
		if got, err := cmd.Output(); err != nil || strings.TrimSpace(string(got)) != theirs.dir {
			t.Errorf("go tests %s in %s (%v), not in %s", s.pkg, got, err, theirs.dir)
		}
		if _, err := os.Stat(filepath.Join(original, "respawned_test.go")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s has changed: %v", original, err)
		}
	}
}

func TestCast(t *testing.T) {
	for theirs, want := range map[string]string{
		`tr := c.Transport.(*Transport)`:                     `tr := bareOf(c.Transport)`,
		`tr := ts.Client().Transport.(*Transport)`:           `tr := bareOf(ts.Client().Transport)`,
		`ExportCloseConns(c.Transport.(*Transport))`:         `ExportCloseConns(bareOf(c.Transport))`,
		`proxy.c.Transport.(*Transport).CancelRequest(req2)`: `bareOf(proxy.c.Transport).CancelRequest(req2)`,
	} {
		if got := cast.ReplaceAllString(theirs, "bareOf($1)"); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestPattern(t *testing.T) {
	if got, want := pattern("TestA/h1", "TestB"), "^TestA$/^h1$|^TestB$"; got != want || pattern() != "" {
		t.Errorf("got %s and %q, want %s and nothing", got, pattern(), want)
	}
}
