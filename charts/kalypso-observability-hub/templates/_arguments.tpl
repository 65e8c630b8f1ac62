{{/* The arguments of the hub. */}}
{{- define "koh.arguments" -}}
{{- $hub := .Values.hub -}}
- serve
- --data=/data
- --listen={{ $hub.address }}:{{ $hub.port }}
- --log-format={{ $hub.log.format }}
{{- if .Values.auth.enabled }}
- --tokens=/etc/koh/tokens/tokens.yaml
{{- else }}
- --insecure-no-auth
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

{{/* The ConfigMap with policies, where there is one. */}}
{{- define "koh.policiesConfigMap" -}}
{{- if .Values.hub.existingPolicies -}}
{{- .Values.hub.existingPolicies -}}
{{- else if .Values.hub.policies -}}
{{- printf "%s-policies" (include "koh.fullname" .) -}}
{{- end -}}
{{- end }}
