{{/* The node's environment variables: what each is set to, by name. */}}

{{/* Plain values, as a map; used by extraEnv's guard, too. Those of Secrets have the value null. */}}
{{- define "fantail.settings" -}}
{{- $env := dict }}
{{- range $name, $value := .Values.settings }}
{{- if not (kindIs "invalid" $value) }}
{{- $text := ternary (join "," $value) (toString $value) (kindIs "slice" $value) }}
{{- if and (kindIs "float64" $value) (eq (floor $value) $value) }}{{ $text = printf "%.0f" $value }}{{ end }}
{{- $_ := set $env (printf "FANTAIL_%s" (snakecase $name | upper)) $text }}
{{- end }}
{{- end }}
{{- $_ := set $env "FANTAIL_LISTEN" (printf "%s:8080" .Values.listenAddress) }}
{{- $_ := set $env "FANTAIL_ADMIN_LISTEN" (printf "%s:9090" .Values.listenAddress) }}
{{- $_ := set $env "FANTAIL_DRAIN_DELAY" (printf "%ds" (int .Values.shutdown.drainDelaySeconds)) }}
{{- $_ := set $env "FANTAIL_DRAIN" (printf "%ds" (int .Values.shutdown.drainSeconds)) }}
{{- if include "fantail.hasRedis" . }}
{{- $_ := set $env "FANTAIL_REDIS" nil }}
{{- end }}
{{- if .Values.redis.passwordSecret.name }}
{{- $_ := set $env "FANTAIL_REDIS_PASSWORD_FILE" "/etc/fantail/redis-password/password" }}
{{- end }}
{{- if .Values.redis.sentinelPasswordSecret.name }}
{{- $_ := set $env "FANTAIL_REDIS_SENTINEL_PASSWORD_FILE" "/etc/fantail/redis-sentinel-password/password" }}
{{- end }}
{{- with .Values.redis.tls }}
{{- if .existingSecret }}
{{- if .caKey }}{{ $_ := set $env "FANTAIL_REDIS_CA" "/etc/fantail/redis-tls/ca.crt" }}{{ end }}
{{- if .certKey }}{{ $_ := set $env "FANTAIL_REDIS_CERT" "/etc/fantail/redis-tls/tls.crt" }}{{ end }}
{{- if .keyKey }}{{ $_ := set $env "FANTAIL_REDIS_KEY" "/etc/fantail/redis-tls/tls.key" }}{{ end }}
{{- end }}
{{- end }}
{{- if .Values.tls.enabled }}
{{- $_ := set $env "FANTAIL_TLS_CERT" "/etc/fantail/tls/tls.crt" }}
{{- $_ := set $env "FANTAIL_TLS_KEY" "/etc/fantail/tls/tls.key" }}
{{- if .Values.tls.ticketKeysSecret.name }}{{ $_ := set $env "FANTAIL_TLS_TICKET_KEYS" "/etc/fantail/tls-tickets/ticket.keys" }}{{ end }}
{{- end }}
{{- with .Values.auth }}
{{- if ne .mode "none" }}
{{- $_ := set $env "FANTAIL_AUTH" .mode }}
{{- with .public }}{{ $_ := set $env "FANTAIL_PUBLIC" (join "," .) }}{{ end }}
{{- if .caSecret.name }}{{ $_ := set $env "FANTAIL_AUTH_CA" "/etc/fantail/auth-ca/ca.crt" }}{{ end }}
{{- end }}
{{- if .jwt.keysSecret.name }}
{{- $files := list }}
{{- range .jwt.keysSecret.keys }}{{ $files = append $files (printf "/etc/fantail/jwt/%s" .) }}{{ end }}
{{- $_ := set $env "FANTAIL_JWT_KEY" (join "," $files) }}
{{- end }}
{{- with .jwt.jwksUrl }}{{ $_ := set $env "FANTAIL_JWT_JWKS_URL" . }}{{ end }}
{{- with .jwt.issuers }}{{ $_ := set $env "FANTAIL_JWT_ISSUER" (join "," .) }}{{ end }}
{{- with .jwt.audiences }}{{ $_ := set $env "FANTAIL_JWT_AUDIENCE" (join "," .) }}{{ end }}
{{- with .forward.url }}{{ $_ := set $env "FANTAIL_FORWARD_URL" . }}{{ end }}
{{- with .forward.headers }}{{ $_ := set $env "FANTAIL_FORWARD_HEADERS" (join "," .) }}{{ end }}
{{- end }}
{{- if .Values.admin.tokenSecret.name }}
{{- $_ := set $env "FANTAIL_ADMIN_TOKEN_FILE" "/etc/fantail/admin-token/token" }}
{{- end }}
{{- with .Values.trustedProxies }}{{ $_ := set $env "FANTAIL_TRUSTED_PROXIES" (join "," .) }}{{ end }}
{{- with .Values.tracing.endpoint }}{{ $_ := set $env "FANTAIL_OTLP_ENDPOINT" . }}{{ end }}
{{- toYaml $env }}
{{- end }}

{{/* Where the URL of Redis is: a Secret of the chart's, or the operator's. */}}
{{- define "fantail.redisSecret" -}}
name: {{ .Values.redis.existingSecret.name | default (printf "%s-redis" (include "fantail.fullname" .)) | quote }}
key: {{ ternary .Values.redis.existingSecret.key "url" (ne .Values.redis.existingSecret.name "") | quote }}
{{- end }}

{{- define "fantail.env" -}}
{{- range $name, $value := fromYaml (include "fantail.settings" .) }}
- name: {{ $name }}
  {{- if eq $name "FANTAIL_REDIS" }}
  valueFrom:
    secretKeyRef:
      {{- include "fantail.redisSecret" $ | nindent 6 }}
  {{- else }}
  value: {{ $value | quote }}
  {{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* What reaching Redis takes as files. */}}
{{- define "fantail.redisVolumes" -}}
{{- with .Values.redis.passwordSecret }}{{ if .name }}
- name: redis-password
  secret: {secretName: {{ .name | quote }}, defaultMode: 0440, items: [{key: {{ .key | quote }}, path: password}]}
{{- end }}{{ end }}
{{- with .Values.redis.sentinelPasswordSecret }}{{ if .name }}
- name: redis-sentinel-password
  secret: {secretName: {{ .name | quote }}, defaultMode: 0440, items: [{key: {{ .key | quote }}, path: password}]}
{{- end }}{{ end }}
{{- with .Values.redis.tls }}{{ if .existingSecret }}
- name: redis-tls
  secret:
    secretName: {{ .existingSecret | quote }}
    defaultMode: 0440
    items:
      {{- if .caKey }}
      - {key: {{ .caKey | quote }}, path: ca.crt}
      {{- end }}
      {{- if .certKey }}
      - {key: {{ .certKey | quote }}, path: tls.crt}
      {{- end }}
      {{- if .keyKey }}
      - {key: {{ .keyKey | quote }}, path: tls.key}
      {{- end }}
{{- end }}{{ end }}
{{- end }}

{{/* Secrets as files, by the name of the volume; each is mounted at /etc/fantail/NAME. */}}
{{- define "fantail.volumes" -}}
{{- include "fantail.redisVolumes" . }}
{{- if .Values.tls.enabled }}
- name: tls
  secret: {secretName: {{ .Values.tls.secretName | quote }}, defaultMode: 0440}
{{- with .Values.tls.ticketKeysSecret }}{{ if .name }}
- name: tls-tickets
  secret: {secretName: {{ .name | quote }}, defaultMode: 0440, items: [{key: {{ .key | quote }}, path: ticket.keys}]}
{{- end }}{{ end }}
{{- end }}
{{- with .Values.admin.tokenSecret }}{{ if .name }}
- name: admin-token
  secret: {secretName: {{ .name | quote }}, defaultMode: 0440, items: [{key: {{ .key | quote }}, path: token}]}
{{- end }}{{ end }}
{{- with .Values.auth.jwt.keysSecret }}{{ if .name }}
- name: jwt
  secret: {secretName: {{ .name | quote }}, defaultMode: 0440}
{{- end }}{{ end }}
{{- with .Values.auth.caSecret }}{{ if .name }}
- name: auth-ca
  secret: {secretName: {{ .name | quote }}, defaultMode: 0440, items: [{key: {{ .key | quote }}, path: ca.crt}]}
{{- end }}{{ end }}
{{- end }}
