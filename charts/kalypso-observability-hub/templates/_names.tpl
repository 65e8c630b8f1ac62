{{/* Names and labels. */}}

{{- define "koh.name" -}}
{{- default "koh" .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{/* 52 characters: a StatefulSet's pods get a label with its name and eleven more, and labels end at 63. */}}
{{- define "koh.fullname" -}}
{{- $name := include "koh.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{/* Of objects that no namespace keeps apart. */}}
{{- define "koh.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "koh.fullname" .) -}}
{{- end }}

{{- define "koh.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "koh.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end }}

{{- define "koh.leaseNamespace" -}}
{{- default .Release.Namespace .Values.kubernetes.lease.namespace -}}
{{- end }}

{{- define "koh.selectorLabels" -}}
app.kubernetes.io/name: {{ include "koh.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "koh.labels" -}}
{{ include "koh.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "koh.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (default $.Chart.AppVersion .tag) -}}
{{- end -}}
{{- end -}}
{{- end }}
