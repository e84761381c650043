{{/* Paths that clients ask for, as HTTPRoute and Ingress match them: src/http/paths.rs has the list. */}}
{{- define "fantail.paths" -}}
{{- if .own }}
{{- range .own }}
- {kind: prefix, path: {{ . | quote }}}
{{- end }}
{{- else }}
- {kind: prefix, path: /events}
- {kind: prefix, path: /history}
{{- if .root.Values.settings.tokenCookie }}
- {kind: exact, path: /session}
{{- end }}
{{- end }}
{{- end }}
