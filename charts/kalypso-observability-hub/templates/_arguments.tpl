{{/* The arguments of the hub. */}}
{{- define "koh.arguments" -}}
{{- $hub := .Values.hub -}}
- serve
- --data=/data
- --listen={{ $hub.address }}:{{ $hub.port }}
- --log-format={{ $hub.log.format }}
{{- if .Values.auth.enabled }}
- --tokens=/etc/koh/tokens/tokens.yaml
{{- with .Values.auth.tokenReview }}
{{- if .enabled }}
- --token-review
- --token-audience={{ .audience }}
- --token-namespace={{ $.Release.Namespace }}
{{- end }}
{{- end }}
{{- else if .Values.auth.tokenReview.enabled }}
{{- fail "auth.tokenReview.enabled needs auth.enabled: without it nobody is asked who he is" }}
{{- else }}
- --insecure-no-auth
{{- end }}
{{- if .Values.tls.existingSecret }}
- --tls-cert=/etc/koh/tls/tls.crt
- --tls-key=/etc/koh/tls/tls.key
{{- end }}
{{- if include "koh.policiesConfigMap" . }}
- --policies=/etc/koh/policies/policies.yaml
{{- end }}
{{- if include "koh.classesConfigMap" . }}
- --classes=/etc/koh/classes/classes.yaml
{{- end }}
{{- if $hub.options }}
- --config=/etc/koh/options/koh.yaml
{{- end }}
{{- if .Values.backups.enabled }}
- --backup-dir={{ default "/backups" .Values.backups.url }}
- --backup-every={{ .Values.backups.every }}
- --backup-keep={{ int .Values.backups.keep }}
{{- end }}
{{- with $hub.defaultContact }}
- {{ printf "--default-contact=%s" . | quote }}
{{- end }}
{{- with $hub.manifests }}
- {{ printf "--manifests=%s" . | quote }}
{{- end }}
- --late-after={{ $hub.lateAfter }}
- --silent-after={{ $hub.silentAfter }}
{{- with .Values.kubernetes }}
{{- if .enabled }}
- --kubernetes
- --kubernetes-source={{ .source }}
{{- with .namespace }}
- --kubernetes-namespace={{ . }}
{{- end }}
- --lease-namespace={{ include "koh.leaseNamespace" $ }}
- --lease-name={{ .lease.name }}
{{- end }}
{{- end }}
{{- $limits := $hub.limits }}
{{- if and (or .Values.ingress.enabled .Values.httpRoute.enabled) (not (hasKey $limits "maxConnectionsPerPeer")) }}
{{- /* All clients behind a proxy are one address: by default it may take as many as there are. */}}
{{- $limits = merge (dict "maxConnectionsPerPeer" (default 12288 $limits.maxConnections)) $limits }}
{{- end }}
{{- range $name, $value := $limits }}
- --{{ kebabcase $name }}={{ if kindIs "float64" $value }}{{ int64 $value }}{{ else }}{{ $value }}{{ end }}
{{- end }}
{{- range $hub.extraArgs }}
- {{ quote . }}
{{- end }}
{{- end }}

{{/*
The options of the file. One that the chart gives as an argument would not count there, so it is refused; whether the others are any,
the hub knows.
*/}}
{{- define "koh.options" -}}
{{- $arguments := include "koh.arguments" . | fromYamlArray }}
{{- range $name, $value := .Values.hub.options }}
{{- $option := printf "--%s" (replace "_" "-" $name) }}
{{- range $arguments }}
{{- if or (eq . $option) (hasPrefix (printf "%s=" $option) .) }}
{{- fail (printf "hub.options.%s: the hub is started with %s, and an argument wins over the file. Use the value that makes this argument" $name .) }}
{{- end }}
{{- end }}
{{- if and (eq $name "log") $.Values.hub.log.filter }}
{{- fail "hub.options.log and hub.log.filter say the same: leave one of them out" }}
{{- end }}
{{ $name }}: {{ if not (kindIs "float64" $value) }}{{ toJson $value }}{{ else if eq (floor $value) $value }}{{ int64 $value }}{{ else }}{{ $value }}{{ end }}
{{- end }}
{{- end }}

{{/* "true" where the hub asks the API server. */}}
{{- define "koh.asksApiServer" -}}
{{- if or .Values.kubernetes.enabled .Values.auth.tokenReview.enabled -}}true{{- end -}}
{{- end }}

{{/* How the hub is asked: http or https. */}}
{{- define "koh.scheme" -}}
{{- ternary "https" "http" (ne .Values.tls.existingSecret "") -}}
{{- end }}

{{/* The ConfigMap with policies, where there is one. */}}
{{- define "koh.policiesConfigMap" -}}
{{- if .Values.hub.existingPolicies -}}
{{- .Values.hub.existingPolicies -}}
{{- else if .Values.hub.policies -}}
{{- printf "%s-policies" (include "koh.fullname" .) -}}
{{- end -}}
{{- end }}

{{/* The ConfigMap with classes of hosts, where there is one. */}}
{{- define "koh.classesConfigMap" -}}
{{- if .Values.hub.existingClasses -}}
{{- .Values.hub.existingClasses -}}
{{- else if .Values.hub.classes -}}
{{- printf "%s-classes" (include "koh.fullname" .) -}}
{{- end -}}
{{- end }}

{{/* The claim of the volume with backups, where they go onto one. */}}
{{- define "koh.backupsClaim" -}}
{{- if and .Values.backups.enabled (not .Values.backups.url) -}}
{{- default (printf "%s-backups" (include "koh.fullname" .)) .Values.backups.volume.existingClaim -}}
{{- end -}}
{{- end }}
