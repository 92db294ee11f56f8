#!/usr/bin/env bash
# Restore a video: ffmpeg decodes and encodes, mambair restores the frames between.
#
#     bash examples/video.sh IN.mp4 OUT.mkv sr --scale 2
#     bash examples/video.sh IN.mp4 OUT.mkv denoise --sigma 10
#
# Sound and subtitles are copied. Interlaced videos are deinterlaced first.
set -euo pipefail
film=$1 result=$2
shift 2

told() {
    ffprobe -v error -select_streams v:0 -show_entries "stream=$1" -of default=nw=1:nk=1 "$film"
}

woven=()
case $(told field_order) in tt | bb | tb | bt) woven=(-vf 'bwdif=send_frame') ;; esac
# Y4M has no word for these, so the encoder is told what they were.
colours=()
for pair in colorspace:color_space color_primaries:color_primaries color_trc:color_transfer; do
    value=$(told "${pair#*:}")
    case $value in '' | unknown | reserved) ;; *) colours+=("-${pair%:*}" "$value") ;; esac
done

ffmpeg -v error -i "$film" -map 0:v:0 "${woven[@]}" -f yuv4mpegpipe -strict -1 - |
    mambair "$@" --stream y4m - -o - |
    ffmpeg -v error -y -f yuv4mpegpipe -i - -i "$film" -map 0:v -map '1:a?' -map '1:s?' -c copy \
        -c:v libx264 -crf 16 "${colours[@]}" "$result"
