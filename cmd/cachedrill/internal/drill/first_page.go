package drill

import (
	"bufio"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
)

// firstPage returns the page before the start.
func (d *Drill) firstPage() record.Record {
	o := d.options
	r := record.Record{
		Tool: "cachedrill " + Version(), Started: time.Now().Round(time.Millisecond), Duration: o.Duration.Seconds(), Seed: o.Seed,
		Machine: thisMachine(), Versions: []record.Entry{{Name: "holdfast", Value: Version()}}, Phases: plan(d.steps, o.Duration),
		Events: []record.Event{}, Samples: []record.Sample{}, Promises: []record.Promise{}, More: o.More,
	}
	for _, p := range o.Promises {
		r.Promises = append(r.Promises, record.Promise{Text: p.String(), About: p.About()})
	}
	d.scenario.Describe(&r)
	return r
}

// Version returns the version of the module that this program was built from.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(unknown version)"
	}
	return info.Main.Version
}

// VersionOf returns the version of a module that this program contains; nothing if it is not known.
func VersionOf(name, module string) []record.Entry {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dep := range info.Deps {
			if dep.Path == module {
				return []record.Entry{{Name: name, Value: dep.Version}}
			}
		}
	}
	return nil
}

func thisMachine() record.Machine {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return record.Machine{
		Host: host, OS: runtime.GOOS, Arch: runtime.GOARCH, CPU: processor(), CPUs: runtime.NumCPU(), Go: runtime.Version(),
	}
}

// processor returns the name of the processor where the system tells it in /proc/cpuinfo, else "".
func processor() string {
	file, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
