ebtables-nft -A FORWARD -p IPv4 --ip-proto tcp --ip-dport 80 -j DROP
