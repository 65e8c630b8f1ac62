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
