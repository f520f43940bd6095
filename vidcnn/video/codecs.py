"""The decoders that are used, by libav's names: an explicit list, for each one reads what anyone may have made.

Left out are those of devices, which a confined process could not reach; those that take pictures made of text or of
pointers; and those of games whose files are no videos here. Decoders of sound are only there so that libav can tell
what else a file contains.
"""

from __future__ import annotations

_FILMS = (
    "apv av1 avs cavs dirac evc h261 h263 h263i h263p h264 hevc libdav1d libvpx libvpx-vp9 mpeg1video mpeg2video mpeg4"
    " mpegvideo msmpeg4 msmpeg4v1 msmpeg4v2 rv10 rv20 rv30 rv40 rv60 snow theora vc1 vc1image vp3 vp4 vp5 vp6 vp6a vp6f"
    " vp7 vp8 vp9 vvc wmv1 wmv2 wmv3 wmv3image"
)
_STUDIOS = (
    "012v aic asv1 asv2 avrn avrp avui ayuv cfhd cllc dnxhd dvvideo dxtory dxv ffv1 ffvhuff hap hq_hqa hqx huffyuv hymt"
    " lagarith loco m101 magicyuv media100 mjpeg mjpegb mszh notchlc pixlet prores prores_raw prosumer r10k r210"
    " rawvideo sheervideo smvjpeg sp5x speedhq utvideo v210 v210x v308 v408 v410 vble vmix vmnc y41p yuv4 zlib"
)
_CAMERAS = "agm amv cljr cpia cri cyuv fic frwu imm4 imm5 mimic mvdv mvha mxpeg nuv pdv vcr1 wnv1"
_SCREENS = (
    "aasc camstudio camtasia fmvc flashsv flashsv2 g2m lscr mscc msa1 mss1 mss2 mts2 mwsc qtrle rasc rscc scpr"
    " screenpresso srgc tdsc tscc2 vbn wcmv xl zerocodec zmbv kgv1 ylc"
)
_OLD = (
    "4xm 8bps binkvideo cinepak clearvideo cdxl dxa escape124 escape130 flic flv fraps idcinvideo indeo2 indeo3 indeo4"
    " indeo5 kmvc lead mmvideo msp2 msrle msvideo1 mv30 mvc1 mvc2 qdraw qpeg roqvideo rpza rtv1 sgirle smackvid smc"
    " svq1 svq3 thp truemotion1 truemotion2 truemotion2rt ultimotion vmdvideo xan_wc3 xan_wc4 yop"
)
_PICTURES = (
    "alias_pix apng bmp dds dpx exr fits gem gif hdr iff jpeg2000 jpegls libjxl libjxl_anim pam pbm pcx pfm pgm pgmyuv"
    " phm photocd pictor png ppm psd qoi sgi sunrast targa targa_y216 tiff vb wbmp webp xbm xpm xwd"
)
_SOUND = (
    "8svx_exp 8svx_fib aac aac_fixed aac_latm ac3 ac3_fixed adpcm_adx adpcm_ima_amv adpcm_ima_dk3 adpcm_ima_dk4"
    " adpcm_ima_qt adpcm_ima_smjpeg adpcm_ima_wav adpcm_ima_ws adpcm_ms adpcm_swf adpcm_thp adpcm_xa adpcm_yamaha alac"
    " als amrnb amrwb ape atrac1 atrac3 atrac3plus binkaudio_dct binkaudio_rdft cook dca dolby_e dsd_lsbf dsd_msbf"
    " dvaudio eac3 flac g722 g723_1 g726 g726le g729 gsm gsm_ms iac ilbc imc libopencore_amrnb libopencore_amrwb"
    " libopus mace3 mace6 mlp mp1 mp1float mp2 mp2float mp3 mp3float mp3on4 mp3on4float mpc7 mpc8 nellymoser opus"
    " pcm_alaw pcm_bluray pcm_dvd pcm_f32be pcm_f32le pcm_f64be pcm_f64le pcm_lxf pcm_mulaw pcm_s16be pcm_s16be_planar"
    " pcm_s16le pcm_s16le_planar pcm_s24be pcm_s24daud pcm_s24le pcm_s24le_planar pcm_s32be pcm_s32le pcm_s32le_planar"
    " pcm_s8 pcm_s8_planar pcm_u16be pcm_u16le pcm_u24be pcm_u24le pcm_u32be pcm_u32le pcm_u8 qcelp qdm2 qdmc"
    " real_144 real_288 roq_dpcm s302m shorten sipr smackaud speex tak truehd truespeech tta twinvq vorbis wavpack"
    " wmalossless wmapro wmav1 wmav2 wmavoice"
)

VIDEO_DECODERS = frozenset(" ".join((_FILMS, _STUDIOS, _CAMERAS, _SCREENS, _OLD, _PICTURES)).split())
"""Decoders of pictures that may be used."""

WHITELIST = ",".join(sorted(VIDEO_DECODERS | set(_SOUND.split())))
"""The same with those of sound, as libav takes it."""
