// Package debugpage shows a groupcache.Debug to a person.
package debugpage

import (
	"html/template"
	"io"
	"strconv"
)

// Write writes the page of a groupcache.Debug.
func Write(w io.Writer, debug any) { _ = page.Execute(w, debug) } // its reader may have gone

//nolint:gochecknoglobals // a template is parsed once
var page = template.Must(template.New("debug").Funcs(template.FuncMap{
	"percent": func(share float64) string { return strconv.FormatFloat(100*share, 'f', 1, 64) + " %" },
}).Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{{.Name}}</title>
<style>
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif } body { margin: 2rem auto; max-width: 70rem; padding: 0 1rem }
table { border-collapse: collapse; width: 100%; margin-bottom: 2rem } th, td { text-align: right; padding: .25rem .6rem; border-bottom: 1px solid #8884 }
th:first-child, td:first-child { text-align: left; overflow-wrap: anywhere } th { font-weight: 600 } .bad { color: #c33; font-weight: 600 }
small { opacity: .7 } div { overflow-x: auto }
</style></head><body>
<h1>{{.Name}}</h1>
<p>{{with .Self}}This process is <b>{{.}}</b>{{with $.Ring}} on a {{.}} ring{{end}}.{{else}}This process is on no ring.{{end}} <small>{{.Time.Format "2006-01-02 15:04:05 MST"}} · <a href="?format=json">JSON</a></small></p>
<h2>Peers</h2>
{{if .Peers}}<div><table><tr><th>peer</th><th>share of keys</th><th>state</th><th>found</th><th>not found</th><th>load errors</th><th>failed</th><th>not sent</th><th>in flight</th><th>removals to tell</th></tr>
{{range .Peers}}<tr><td>{{.URL}}{{if .Self}} <small>this process</small>{{else if not .Ours}} <small>no sign yet that it is ours</small>{{else}} <small>{{if .Frames}}by frames{{else}}no frames: {{.Route}}{{end}}{{if .Near}}, same zone{{end}}</small>{{end}}</td><td>{{percent .Share}}</td>
{{if .Self}}<td colspan="8"></td>{{else}}<td{{if ne .State "closed"}} class="bad"{{end}}>{{if eq .State "closed"}}up{{else}}{{.State}}{{end}}</td><td>{{.Found}}</td><td>{{.NotFound}}</td><td>{{.LoadErrors}}</td><td>{{.Failed}}</td><td>{{.Refused}}</td><td>{{.InFlight}}</td><td{{if .MissedRemoves}} class="bad"{{end}}>{{.MissedRemoves}}</td>{{end}}</tr>
{{end}}</table></div>{{else}}<p>None: this process loads all keys itself.</p>{{end}}
<h2>Groups</h2>
{{if .Groups}}<div><table><tr><th>group</th><th>gets</th><th>hits</th><th>main cache</th><th>evicted</th><th>hot cache</th><th>evicted</th><th>loads under way</th></tr>
{{range .Groups}}<tr><td>{{.Name}}</td><td>{{.Gets}}</td><td>{{percent .HitRatio}}</td><td>{{.Main.Items}} values, {{.Main.Bytes}} bytes</td><td>{{.Main.Evictions}}</td><td>{{.Hot.Items}} values, {{.Hot.Bytes}} bytes</td><td>{{.Hot.Evictions}}</td><td>{{.Main.ActiveSingleFlightLoads}}</td></tr>
{{end}}</table></div>{{else}}<p>None yet.</p>{{end}}
{{range .Groups}}{{if .Hottest}}<h2>Hottest keys of {{.Name}}</h2><div><table><tr><th>key</th><th>bytes</th><th>hits, about</th></tr>
{{range .Hottest}}<tr><td>{{printf "%q" .Key}}</td><td>{{.Size}}</td><td>{{.Hits}}</td></tr>
{{end}}</table></div>{{end}}{{end}}
</body></html>
`))
