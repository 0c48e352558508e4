package consumer_test

import (
	"archive/zip"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

const version = "v0.0.1"

// The commands of the documents that need no clone, go get and go run …/cmd/cachedrill@latest,
// work in an empty folder: a proxy of modules has this one, as it would a tag. What go run would
// compile is only listed, as all tests compile it.
func TestCommandsWorkFromNowhere(t *testing.T) {
	t.Parallel()
	library, proxy := root(t), t.TempDir()
	publish(t, library, proxy)
	modules := strings.TrimSpace(run(t, library, nil, "go", "env", "GOMODCACHE"))
	environment := []string{
		"GOPROXY=" + fileURL(proxy) + "," + fileURL(filepath.Join(modules, "cache", "download")),
		"GOMODCACHE=" + filepath.Join(t.TempDir(), "modules"), "GOBIN=" + t.TempDir(),
		"GOFLAGS=-modcacherw", "GOSUMDB=off", "GOWORK=off", "GONOSUMDB=*",
	}
	run(t, t.TempDir(), environment, "go", "install", "-n", name+"/cmd/cachedrill@latest")
	fresh := t.TempDir()
	run(t, fresh, environment, "go", "mod", "init", "example.org/fresh")
	run(t, fresh, environment, "go", "get", name)
	if mod, err := os.ReadFile(filepath.Join(fresh, "go.mod")); err != nil || !strings.Contains(string(mod), name+" "+version) {
		t.Errorf("go get has left %q, %v", mod, err)
	}
}

// fileURL is the URL of a folder.
func fileURL(folder string) string {
	path := filepath.ToSlash(folder)
	if runtime.GOOS == "windows" {
		path = "/" + path
	}
	return "file://" + path
}

// publish puts a module into a folder as proxies of modules have them:
// https://go.dev/ref/mod#goproxy-protocol.
func publish(t *testing.T, library, proxy string) {
	t.Helper()
	folder := filepath.Join(proxy, filepath.FromSlash(name), "@v")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile(filepath.Join(library, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{
		"list": version + "\n", version + ".info": `{"Version":"` + version + `"}`, version + ".mod": string(mod),
	} {
		if err := os.WriteFile(filepath.Join(folder, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	to, err := os.Create(filepath.Join(folder, version+".zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	packed := zip.NewWriter(to)
	err = fs.WalkDir(os.DirFS(library), ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			return skipped(library, path)
		}
		return pack(packed, library, path, e)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := packed.Close(); err != nil {
		t.Fatal(err)
	}
}

// skipped returns fs.SkipDir for a folder that is not of the module.
func skipped(library, path string) error {
	if path == ".git" || path == "bin" {
		return fs.SkipDir
	}
	if _, err := os.Stat(filepath.Join(library, path, "go.mod")); err == nil && path != "." {
		return fs.SkipDir
	}
	return nil
}

// pack adds a file.
func pack(to *zip.Writer, library, path string, e fs.DirEntry) error {
	if !e.Type().IsRegular() {
		return nil
	}
	text, err := os.ReadFile(filepath.Join(library, path))
	if err != nil {
		return err
	}
	w, err := to.Create(name + "@" + version + "/" + path)
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	return err
}

// run runs a command and returns its output.
func run(t *testing.T, folder string, environment []string, args ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), args[0], args[1:]...)
	command.Dir = folder
	command.Env = append(os.Environ(), environment...)
	text, err := command.Output()
	if err != nil {
		failed, _ := err.(*exec.ExitError) //nolint:errorlint // it is the command's own
		if failed != nil {
			text = append(text, failed.Stderr...)
		}
		t.Fatalf("%s: %v\n%.4000s", strings.Join(args, " "), err, text)
	}
	return string(text)
}
