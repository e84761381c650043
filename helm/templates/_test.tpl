{{/* What the pod of `helm test` needs to reach Redis and a node. */}}

{{/* How a node is reached: variables of `fantail publish` and `fantail tail`. */}}
{{- define "fantail.testNode" -}}
{{- $host := include "fantail.fullname" . }}
- {name: FANTAIL_URL, value: {{ printf "%s://%s:%d" (ternary "https" "http" .Values.tls.enabled) $host (int .Values.service.port) | quote }}}
{{- if .Values.tls.enabled }}
- {name: FANTAIL_SERVER_NAME, value: {{ .Values.test.serverName | default (printf "%s.%s.svc" $host .Release.Namespace) | quote }}}
{{- if .Values.test.caSecret.name }}
- {name: FANTAIL_CA, value: /etc/fantail/test-ca/ca.crt}
{{- end }}
{{- end }}
{{- if .Values.test.tokenSecret.name }}
- {name: FANTAIL_TOKEN_FILE, value: /etc/fantail/token/token}
{{- end }}
{{- end }}

{{/* How Redis is reached: those variables of the nodes that `fantail publish` reads, too. */}}
{{- define "fantail.testRedis" -}}
- name: FANTAIL_REDIS
  valueFrom:
    secretKeyRef:
      {{- include "fantail.redisSecret" . | nindent 6 }}
{{- range $name, $value := fromYaml (include "fantail.settings" .) }}
{{- if or (hasPrefix "FANTAIL_REDIS_" $name) (eq $name "FANTAIL_KEY_PREFIX") }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}
{{- end }}

{{/* Secrets as files, by the name of the volume. */}}
{{- define "fantail.testVolumes" -}}
{{- $secrets := dict "token" .Values.test.tokenSecret "admin-token" .Values.admin.tokenSecret }}
{{- $files := dict "token" "token" "admin-token" "token" "test-ca" "ca.crt" }}
{{- if .Values.tls.enabled }}
{{- $_ := set $secrets "test-ca" .Values.test.caSecret }}
{{- end }}
{{- if include "fantail.hasRedis" . }}
{{- include "fantail.redisVolumes" . }}
{{- end }}
{{- range $name, $secret := $secrets }}
{{- if $secret.name }}
- name: {{ $name }}
  secret:
    secretName: {{ $secret.name | quote }}
    defaultMode: 0440
    items: [{key: {{ $secret.key | quote }}, path: {{ index $files $name }}}]
{{- end }}
{{- end }}
{{- end }}
