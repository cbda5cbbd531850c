ebtables-nft -A FORWARD -p IPv4 -i port9 --ip-dst 10.30.2.2 --limit 50/sec --limit-burst 50 -j DROP
